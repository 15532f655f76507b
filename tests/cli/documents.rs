//! Documents on stdout and in files: features, spec.

use std::fs::{self, OpenOptions};

use serde_json::Value;

use crate::process::{Dir, command, output, wherry};

#[test]
fn features_are_pure_json_that_engines_understand() {
    let ran = wherry(&["features"]);
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""));
    assert!(ran.stdout.starts_with("{\n    \""));
    let features: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(features["ociVersionMin"], "1.0.0");
    assert_eq!(features["ociVersionMax"], "1.3.0");
    assert_eq!(features["hooks"].as_array().unwrap().len(), 6);
    assert!(features["mountOptions"].as_array().unwrap().contains(&"rro".into()));
    assert!(features["linux"]["mountExtensions"]["idmap"]["enabled"].is_boolean());
    assert!(features["linux"]["seccomp"]["actions"].as_array().unwrap().contains(&"SCMP_ACT_KILL_PROCESS".into()));
    assert_eq!(features["linux"]["cgroup"]["v2"], true);
    assert_eq!(features["linux"]["capabilities"].as_array().unwrap().len(), 41);
    let annotations = features["annotations"].as_object().unwrap();
    assert_eq!(annotations["org.opencontainers.runc.checkpoint.enabled"], "false");
    assert!(!annotations.contains_key("org.opencontainers.runc.commit"));
    assert!(annotations.values().all(Value::is_string));
}

#[test]
fn a_full_disk_behind_stdout_is_a_failure() {
    let mut command = command(&["features"]);
    command.stdout(OpenOptions::new().write(true).open("/dev/full").unwrap());
    let ran = output(command);
    assert_eq!(ran.code, Some(1));
    assert!(ran.stderr.contains("write to stdout: no space left on device"), "{ran:?}");
}

#[test]
fn spec_writes_a_configuration_once() {
    let dir = Dir::new();
    let bundle = dir.path().to_str().unwrap();
    let ran = wherry(&["spec", "--bundle", bundle]);
    assert_eq!((ran.code, ran.stdout.as_str(), ran.stderr.as_str()), (Some(0), "", ""));
    let text = fs::read_to_string(dir.file("config.json")).unwrap();
    assert!(text.starts_with("{\n\t\""));
    let config: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(config["ociVersion"], "1.3.0");
    assert_eq!(config["root"]["path"], "rootfs");
    let again = wherry(&["spec", "-b", bundle]);
    assert_eq!(again.code, Some(1));
    assert!(again.stderr.contains("File config.json exists. Remove it first"), "{again:?}");
    assert_eq!(fs::read_to_string(dir.file("config.json")).unwrap(), text);
}

#[test]
fn spec_takes_another_name_and_the_working_directory() {
    let dir = Dir::new();
    let mut command = command(&["spec", "-f", "other.json", "--rootless"]);
    command.current_dir(dir.path());
    assert_eq!(output(command).code, Some(0));
    let config: Value = serde_json::from_str(&fs::read_to_string(dir.file("other.json")).unwrap()).unwrap();
    let kinds: Vec<&str> =
        config["linux"]["namespaces"].as_array().unwrap().iter().filter_map(|n| n["type"].as_str()).collect();
    assert!(kinds.contains(&"user") && !kinds.contains(&"network"), "{kinds:?}");
    assert_eq!(config["linux"]["uidMappings"].as_array().unwrap().len(), 1);
    assert!(config["linux"].get("resources").is_none());
}

#[test]
fn a_missing_directory_is_named() {
    let ran = wherry(&["spec", "--bundle", "/nonexistent/bundle"]);
    assert_eq!(ran.code, Some(1));
    assert!(ran.stderr.contains("open /nonexistent/bundle/config.json: no such file or directory"), "{ran:?}");
}

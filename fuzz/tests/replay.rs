//! The seeds and every input that once broke a rule, by each target.

use std::fs;
use std::path::{Path, PathBuf};

use wherry_fuzz::TARGETS;

fn files(dir: &Path) -> Vec<PathBuf> {
    fs::read_dir(dir).map(|dir| dir.filter_map(|entry| Some(entry.ok()?.path())).collect()).unwrap_or_default()
}

#[test]
fn seeds_keep_the_rules() {
    for (name, target) in TARGETS {
        let seeds = files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("seeds").join(name));
        assert!(!seeds.is_empty(), "{name} has no seeds");
        for seed in seeds {
            target(&fs::read(&seed).unwrap());
        }
    }
}

#[test]
fn what_broke_a_rule_keeps_it_now() {
    for (name, target) in TARGETS {
        for input in files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("regressions").join(name)) {
            target(&fs::read(&input).unwrap());
        }
    }
}

/// Seeds that the parser refuses would try nothing else.
#[test]
fn seeds_reach_the_plan() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("seeds/config");
    let texts: Vec<Vec<u8>> = files(&dir).iter().map(|f| fs::read(f).unwrap()).collect();
    let planned = texts.iter().filter(|text| libcontainer::spec::config(text, "").is_ok()).count();
    assert!(planned * 2 > texts.len(), "{planned} of {} seeds are configurations", texts.len());
}

#[test]
fn json_stays_json() {
    let text = br#"{"process": {"args": ["sh"], "user": {"uid": 0}}, "mounts": []}"#;
    let mut changed = 0;
    for seed in 0..500 {
        let mut data = vec![0; 4096];
        data[..text.len()].copy_from_slice(text);
        if let Some(size) = wherry_fuzz::json::mutate(&mut data, text.len(), 4096, seed) {
            assert!(serde_json::from_slice::<serde_json::Value>(&data[..size]).is_ok());
            changed += usize::from(data[..size] != text[..]);
        }
    }
    assert!(changed > 200, "{changed} of 500 were changed");
}

//! Planning of mounts on any machine: what is refused, and what the kernel will be asked for.

use crate::error::Problem;
use crate::mounts::step::{Keep, Rule};
use crate::mounts::{CgroupHierarchy, CgroupView};
use crate::rootfs::plan::inside;
use crate::rootfs::{MountFacts, RootfsPlan, Step, plan};
use crate::sys::mount;

fn facts() -> MountFacts<'static> {
    MountFacts { rootfs: c"/b/rootfs".into(), bundle: "/b", mount_ns: true, pid_ns: true, ..MountFacts::default() }
}

fn planned(json: &str, facts: &MountFacts<'_>) -> (RootfsPlan, Vec<Problem>) {
    let doc = crate::spec::config(json.as_bytes(), "config.json").unwrap();
    let mut problems = Vec::new();
    let plan = plan(&doc.value, facts, &mut problems);
    (plan, problems)
}

fn mounts(json: &str) -> (RootfsPlan, Vec<Problem>) {
    planned(&format!("{{\"mounts\": [{json}]}}"), &facts())
}

fn words(plan: &RootfsPlan) -> Vec<String> {
    plan.prepare.iter().chain(&plan.enter).chain(&plan.restrict).map(|p| p.step.to_string()).collect()
}

fn step_at<'a>(plan: &'a RootfsPlan, pointer: &str) -> &'a Step {
    &plan.prepare.iter().find(|p| p.pointer == pointer).unwrap().step
}

#[test]
fn paths_are_cleaned_and_cannot_climb() {
    for (path, want) in [("/", "."), ("a", "a"), ("/a//b/./c/", "a/b/c"), ("/../../a/../b", "b"), ("..", ".")] {
        assert_eq!(inside(path).unwrap().to_str().unwrap(), want, "{path}");
    }
    assert_eq!(inside(""), None);
    assert_eq!(inside("/a\0b"), None);
}

#[test]
fn a_recursive_bind_sets_ro_on_the_top_and_propagation_on_all() {
    let (plan, problems) = mounts(r#"{"destination": "/v", "source": "/s", "options": ["rbind", "rprivate", "ro"]}"#);
    assert_eq!(problems, []);
    let text = step_at(&plan, "/mounts/0").to_string();
    assert_eq!(text, "bind recursively /s on /v, mount_setattr ro, mount_setattr recursive private");
}

#[test]
fn a_single_bind_needs_one_call_for_attributes_and_propagation() {
    let (plan, _) = mounts(r#"{"destination": "/v", "source": "s", "options": ["bind", "rslave", "ro", "suid"]}"#);
    assert_eq!(step_at(&plan, "/mounts/0").to_string(), "bind /b/s on /v, mount_setattr ro -nosuid slave");
}

#[test]
fn recursive_attributes_join_recursive_propagation() {
    let (plan, _) = mounts(r#"{"destination": "/v", "source": "/s", "options": ["rbind", "rro", "rslave", "shared"]}"#);
    let text = step_at(&plan, "/mounts/0").to_string();
    assert_eq!(text, "bind recursively /s on /v, mount_setattr recursive ro slave, mount_setattr shared");
}

#[test]
fn data_of_filesystems_is_split_at_commas_outside_quotes() {
    let (plan, _) = mounts(
        r#"{"destination": "/v", "type": "tmpfs", "source": "t", "options": ["mode=755,size=1m", "context=\"a:b:c0,c1\"", "noswap"]}"#,
    );
    let Step::Fs(fs) = step_at(&plan, "/mounts/0") else { panic!("not a filesystem") };
    let params: Vec<_> =
        fs.params.iter().map(|p| (p.key.to_str().unwrap(), p.value.as_deref().map(|v| v.to_str().unwrap()))).collect();
    let want = [
        ("source", Some("t")),
        ("mode", Some("755")),
        ("size", Some("1m")),
        ("context", Some("a:b:c0,c1")),
        ("noswap", None),
    ];
    assert_eq!(params, want);
    assert!(!fs.copy_mode);
}

#[test]
fn a_read_only_tmpfs_is_filled_before_it_becomes_read_only() {
    let (plan, _) = mounts(r#"{"destination": "/dev", "type": "tmpfs", "options": ["ro", "nosuid"]}"#);
    let Step::Fs(fs) = step_at(&plan, "/mounts/0") else { panic!("not a filesystem") };
    assert_eq!((fs.attr, fs.keep), (mount::MOUNT_ATTR_NOSUID, Keep::Dev(Some(0))));
    assert_eq!(plan.restrict[0].step.to_string(), "mount_setattr ro on /dev");
    assert_eq!(plan.restrict[0].pointer, "/mounts/0");
}

#[test]
fn ro_reaches_the_superblock_only_of_filesystems_on_a_device() {
    let (plan, _) = mounts(
        r#"{"destination": "/a", "type": "ext4", "source": "/dev/x", "options": ["ro"]},
           {"destination": "/sys", "type": "sysfs", "source": "sysfs", "options": ["ro"]}"#,
    );
    assert_eq!(step_at(&plan, "/mounts/0").to_string(), "mount ext4 on /a source=/dev/x,ro ro");
    let Step::Fs(sysfs) = step_at(&plan, "/mounts/1") else { panic!("not a filesystem") };
    assert_eq!((sysfs.params.len(), sysfs.rule), (1, Rule::Ordinary));
}

#[test]
fn mounts_on_and_below_proc_are_refused_but_for_the_known_ones() {
    let (_, problems) = mounts(
        r#"{"destination": "/proc", "type": "proc"}, {"destination": "/proc/", "type": "tmpfs"},
           {"destination": "/proc/meminfo", "source": "/x", "options": ["bind"]},
           {"destination": "/x/../proc/self/attr", "source": "/x", "options": ["bind"]},
           {"destination": "/proc/sys", "type": "tmpfs"}, {"destination": "/proc", "source": "/x", "options": ["rbind"]}"#,
    );
    let at: Vec<_> = problems.iter().map(|p| p.pointer.as_str()).collect();
    assert_eq!(at, ["/mounts/1/destination", "/mounts/3/destination", "/mounts/4/destination"]);
}

#[test]
fn every_problem_has_its_pointer() {
    let long = "x".repeat(256);
    let (_, problems) = planned(
        &format!(
            r#"{{"mounts": [{{"destination": "", "type": "tmpfs"}}, {{"destination": "/a"}},
            {{"destination": "/a", "options": ["bind"]}}, {{"destination": "/a", "source": "/s", "options": ["bind", "size=1"]}},
            {{"destination": "/a", "type": "overlay", "options": ["lowerdir={long}"]}}, {{"destination": "/c", "type": "cgroup"}}],
            "linux": {{"mountLabel": "l", "rootfsPropagation": "x", "maskedPaths": ["rel", "/a/.."]}}}}"#
        ),
        &facts(),
    );
    let at: Vec<_> = problems.iter().map(|p| p.pointer.as_str()).collect();
    assert_eq!(
        at,
        [
            "/linux/rootfsPropagation",
            "/linux/mountLabel",
            "/mounts/0/destination",
            "/mounts/1/type",
            "/mounts/2/source",
            "/mounts/3/options/1",
            "/mounts/4/options/0",
            "/mounts/5",
            "/linux/maskedPaths/0",
            "/linux/maskedPaths/1",
        ]
    );
}

#[test]
fn the_order_is_propagation_root_mounts_devices_pivot_and_restrictions() {
    let json = r#"{"root": {"readonly": true}, "mounts": [{"destination": "/proc", "type": "proc"}], "process": {"cwd": "/w/d/"},
        "linux": {"sysctl": {"net.a.b": "1"}, "readonlyPaths": ["/r", "/r/"], "maskedPaths": ["/m"], "rootfsPropagation": "rshared"}}"#;
    let (plan, problems) = planned(json, &MountFacts { net_ns: true, ..facts() });
    assert_eq!(problems, []);
    let words = words(&plan);
    let want = [
        "mount_setattr recursive shared on / of the new mount namespace",
        "mount_setattr private on the mount of /b/rootfs",
        "bind rootfs /b/rootfs on itself",
        "mount proc on /proc",
        "mknod /dev/null c 1:3, mode 0666",
        "mknod /dev/zero c 1:5, mode 0666",
        "mknod /dev/full c 1:7, mode 0666",
        "mknod /dev/random c 1:8, mode 0666",
        "mknod /dev/urandom c 1:9, mode 0666",
        "mknod /dev/tty c 5:0, mode 0666",
        "symlink /dev/{ptmx,fd,stdin,stdout,stderr,core}",
        "pivot_root to rootfs, umount2 the old root",
        "mount_setattr recursive shared on /",
        "mkdir /w/d",
        "mount_setattr ro on /",
        "write \"1\" to /proc/sys/net/a/b",
        "read-only path /r",
        "mount a tmpfs with an empty file and an empty directory as the masks",
        "masked path /m",
    ];
    assert_eq!(words, want);
}

#[test]
fn an_unbindable_root_becomes_so_last() {
    let json = r#"{"linux": {"rootfsPropagation": "runbindable", "readonlyPaths": ["/r"]}}"#;
    let (plan, _) = planned(json, &facts());
    let words = words(&plan);
    assert_eq!(words[0], "mount_setattr recursive private on / of the new mount namespace");
    assert_eq!(words.last().unwrap(), "mount_setattr recursive unbindable on /");
}

#[test]
fn without_a_mount_namespace_nothing_is_mounted_on_the_host() {
    let json = r#"{"root": {"readonly": true}, "mounts": [{"destination": "/p", "type": "proc"}], "linux": {"maskedPaths": ["/m"]}}"#;
    let (_, problems) = planned(json, &MountFacts { mount_ns: false, ..facts() });
    let at: Vec<_> = problems.iter().map(|p| p.pointer.as_str()).collect();
    assert_eq!(at, ["/mounts", "/root/readonly", "/linux/maskedPaths"]);
    let (plan, problems) = planned("{}", &MountFacts { mount_ns: false, ..facts() });
    assert_eq!(problems, []);
    assert_eq!(words(&plan)[0], "open rootfs /b/rootfs");
    assert_eq!(words(&plan).last().unwrap(), "chroot to rootfs");
}

#[test]
fn no_pivot_with_private_propagation_is_refused() {
    let facts = MountFacts { no_pivot: true, ..facts() };
    let (_, problems) = planned(r#"{"linux": {"rootfsPropagation": "rprivate"}}"#, &facts);
    assert_eq!(problems[0].pointer, "/linux/rootfsPropagation");
    assert!(planned(r#"{"linux": {"rootfsPropagation": "rslave"}}"#, &facts).1.is_empty());
}

#[test]
fn in_a_user_namespace_nodes_are_bound_and_sysfs_has_a_substitute() {
    let json = r#"{"mounts": [{"destination": "/sys", "type": "sysfs", "options": ["ro"]},
        {"destination": "/proc", "type": "proc"}], "linux": {"devices": [{"path": "/dev/f", "type": "p"}]}}"#;
    let (plan, _) = planned(json, &MountFacts { user_ns: true, ..facts() });
    let Step::Fs(sysfs) = step_at(&plan, "/mounts/0") else { panic!("not a filesystem") };
    let text = sysfs.instead.as_ref().unwrap().to_string();
    assert_eq!(text, "bind recursively /sys on /sys, mount_setattr recursive ro");
    let Step::Fs(proc) = step_at(&plan, "/mounts/1") else { panic!("not a filesystem") };
    assert_eq!(proc.instead, None, "the host's procfs would show the host's processes");
    let words = words(&plan);
    assert!(words.contains(&"bind the host's node on /dev/null c 1:3, mode 0666".to_owned()));
    assert!(words.contains(&"mknod /dev/f p, mode 0666".to_owned()));
}

#[test]
fn a_bound_dev_is_left_alone() {
    let json = r#"{"mounts": [{"destination": "/dev/", "source": "/dev", "options": ["rbind", "ro"]}]}"#;
    let (plan, _) = planned(json, &facts());
    assert!(!words(&plan).iter().any(|w| w.contains("mknod") || w.contains("symlink")));
    assert_eq!(plan.restrict[0].step.to_string(), "mount_setattr ro on /dev");
}

#[test]
fn the_cgroup_view_depends_on_version_and_namespace() {
    let json = r#"{"mounts": [{"destination": "/sys/fs/cgroup", "type": "cgroup", "options": ["ro", "nosuid"]}]}"#;
    let v1 = CgroupView::V1 {
        hierarchies: vec![
            CgroupHierarchy { name: "cpu,cpuacct".into(), dir: c"/h/cpu/c".into(), options: "cpu,cpuacct".into() },
            CgroupHierarchy { name: "systemd".into(), dir: c"/h/systemd/c".into(), options: "name=systemd".into() },
        ],
        links: vec![("cpu".into(), "cpu,cpuacct".into())],
    };
    let (plan, _) = planned(json, &MountFacts { cgroup: v1.clone(), cgroup_ns: true, ..facts() });
    let Step::CgroupV1(view) = step_at(&plan, "/mounts/0") else { panic!("not a v1 view") };
    let crate::mounts::cgroup::Source::Mount { params, .. } = &view.entries[1].source else { panic!("not a mount") };
    let keys: Vec<_> = params.iter().map(|p| p.key.to_str().unwrap()).collect();
    assert_eq!(keys, ["source", "none", "name"]);
    assert!(view.readonly && view.tmpfs.attr == mount::MOUNT_ATTR_NOSUID);

    let v2 = CgroupView::V2 { mountpoint: c"/sys/fs/cgroup".into(), dir: c"/sys/fs/cgroup/c".into() };
    let text = |facts: &MountFacts<'_>| step_at(&planned(json, facts).0, "/mounts/0").to_string();
    let own = MountFacts { cgroup: v2, ..facts() };
    assert!(text(&own).starts_with("bind recursively /sys/fs/cgroup on /sys/fs/cgroup"));
    let in_user_ns = MountFacts { user_ns: true, ..own.clone() };
    assert!(text(&in_user_ns).starts_with("bind recursively /sys/fs/cgroup/c on"));
    let in_cgroup_ns = MountFacts { cgroup_ns: true, ..own };
    assert_eq!(text(&in_cgroup_ns), "mount cgroup2 on /sys/fs/cgroup source=cgroup ro,nosuid");
}

#[test]
fn a_configured_device_takes_the_place_of_a_default_one() {
    let json = r#"{"linux": {"devices": [{"path": "/dev/null", "type": "c", "major": 1, "minor": 3, "fileMode": 33152},
        {"path": "/dev/ptmx", "type": "c", "major": 5, "minor": 2}]}}"#;
    let (plan, problems) = planned(json, &facts());
    assert_eq!(problems, []);
    let nulls: Vec<_> = words(&plan).into_iter().filter(|w| w.contains("/dev/null")).collect();
    assert_eq!(nulls, ["mknod /dev/null c 1:3, mode 0600"]);
    assert!(!words(&plan).iter().any(|w| w.contains("mknod /dev/ptmx")));
}

#[test]
fn words_that_a_bind_mount_cannot_honour_are_told() {
    let (plan, problems) = mounts(r#"{"destination": "/v", "source": "/s", "options": ["rbind", "rsync", "ro"]}"#);
    let seen: Vec<_> = problems.iter().map(|p| (p.pointer.as_str(), p.dropped)).collect();
    assert_eq!(seen, [("/mounts/0/options/1", true)]);
    assert_eq!(step_at(&plan, "/mounts/0").to_string(), "bind recursively /s on /v, mount_setattr ro");
    let (plan, problems) = mounts(r#"{"destination": "/v", "type": "tmpfs", "options": ["rsync", "rdirsync"]}"#);
    assert_eq!(problems, []);
    assert_eq!(step_at(&plan, "/mounts/0").to_string(), "mount tmpfs on /v sync,dirsync");
}

#[test]
fn the_ids_of_a_mount_come_from_its_maps_or_from_the_containers() {
    let map = r#"[{"containerID": 0, "hostID": 5000, "size": 10}]"#;
    let given = format!(r#""source": "/s", "destination": "/m", "uidMappings": {map}, "gidMappings": {map}"#);
    let (plan, problems) = mounts(&format!(r#"{{{given}, "options": ["rbind", "ridmap"]}}"#));
    assert_eq!(problems, []);
    let text = step_at(&plan, "/mounts/0").to_string();
    assert_eq!(text, "bind recursively /s on /m, map ids recursively uid 0 5000 10 gid 0 5000 10");
    let own = format!(r#""linux": {{"namespaces": [{{"type": "user"}}], "uidMappings": {map}, "gidMappings": {map}}}"#);
    let facts = MountFacts { user_ns: true, ..facts() };
    for mount in [
        format!(r#"{given}, "options": ["bind"]"#),
        r#""source": "/s", "destination": "/m", "options": ["bind", "idmap"]"#.into(),
    ] {
        let (plan, problems) = planned(&format!(r#"{{"mounts": [{{{mount}}}], {own}}}"#), &facts);
        assert_eq!(problems, []);
        assert_eq!(step_at(&plan, "/mounts/0").to_string(), "bind /s on /m, map ids as the user namespace does");
    }
}

#[test]
fn an_id_map_that_cannot_be_is_refused_with_its_place() {
    let map = r#"[{"containerID": 0, "hostID": 5000, "size": 10}]"#;
    for (mount, user_ns, want) in [
        (r#""source": "/s", "options": ["bind", "idmap"]"#.to_owned(), false, "options/1"),
        (format!(r#""source": "/s", "options": ["bind"], "uidMappings": {map}"#), true, "gidMappings"),
        (r#""type": "tmpfs", "options": ["idmap"]"#.into(), true, "options/0"),
        (r#""options": ["remount", "ridmap"]"#.into(), true, "options/1"),
        (r#""source": "/s", "options": ["bind", "idmap=uids=0-1-1"]"#.into(), true, "options/1"),
        (format!(r#""source": "/s", "options": ["bind", "idmap=uids=0-1-1;gids=0-1-1"], "uidMappings": {map}, "gidMappings": {map}"#), true, "options/1"),
        (r#""source": "/s", "options": ["bind"], "uidMappings": [{"containerID": 0, "hostID": 1, "size": 0}], "gidMappings": [{"containerID": 0, "hostID": 1, "size": 1}]"#.into(), true, "uidMappings/0"),
    ] {
        let json = format!(r#"{{"mounts": [{{"destination": "/m", {mount}}}]}}"#);
        let (_, problems) = planned(&json, &MountFacts { user_ns, ..facts() });
        let at: Vec<_> = problems.iter().map(|p| p.pointer.as_str()).collect();
        assert_eq!(at, [format!("/mounts/0/{want}")], "{mount}");
    }
}

#[test]
fn the_mount_label_goes_to_new_filesystems_in_the_way_each_takes_it() {
    let json = r#"{"annotations": {KIND}, "linux": {"mountLabel": "u:r:t:s0:c1,c2"}, "mounts": [
        {"destination": "/proc", "type": "proc"}, {"destination": "/sys", "type": "sysfs", "options": ["ro"]},
        {"destination": "/t", "type": "tmpfs"}, {"destination": "/dev/pts", "type": "devpts"},
        {"destination": "/dev/mqueue", "type": "mqueue", "options": ["ro"]},
        {"destination": "/v", "source": "/s", "options": ["bind"]},
        {"destination": "/o", "type": "tmpfs", "options": ["context=\"a:b:c\""]}]}"#;
    let facts = MountFacts { selinux: true, ..facts() };
    let steps = |kind: &str| -> Vec<String> {
        let (plan, problems) = planned(&json.replace("{KIND}", kind), &facts);
        assert_eq!(problems, []);
        plan.prepare.iter().filter(|p| p.pointer.starts_with("/mounts")).map(|p| p.step.to_string()).collect()
    };
    let words = steps("{}");
    assert_eq!(words[0], "mount proc on /proc");
    assert_eq!(words[2], "mount tmpfs on /t context=u:r:t:s0:c1,c2");
    assert!(words[3].contains(",context=u:r:t:s0:c1,c2"), "{}", words[3]);
    assert_eq!(words[4], "mount mqueue on /dev/mqueue ro, label u:r:t:s0:c1,c2");
    assert_eq!(words[6], "mount tmpfs on /o context=a:b:c");
    assert!([&words[1], &words[5]].iter().all(|w| !w.contains("u:r:t")));
    assert_eq!(
        steps(r#"{"run.oci.mount_context_type": "rootcontext"}"#)[2],
        "mount tmpfs on /t rootcontext=u:r:t:s0:c1,c2"
    );
    let (_, problems) = planned(&json.replace("{KIND}", r#"{"run.oci.mount_context_type": "x"}"#), &facts);
    assert_eq!(problems[0].pointer, "/annotations/run.oci.mount_context_type");
}

#[test]
fn standard_mounts_without_options_get_safe_ones() {
    let (plan, _) =
        mounts(r#"{"destination": "/dev/", "type": "tmpfs"}, {"destination": "/tmp", "type": "tmpfs", "options": []}"#);
    assert_eq!(step_at(&plan, "/mounts/0").to_string(), "mount tmpfs on /dev mode=755 nosuid,noexec,strictatime");
    assert_eq!(step_at(&plan, "/mounts/1").to_string(), "mount tmpfs on /tmp");
}

#[test]
fn rro_holds_for_a_cgroup_mount() {
    let json = r#"{"mounts": [{"destination": "/sys/fs/cgroup", "type": "cgroup", "options": ["rro"]}]}"#;
    let cgroup = CgroupView::V2 { mountpoint: c"/sys/fs/cgroup".into(), dir: c"/sys/fs/cgroup/c".into() };
    let (plan, _) = planned(json, &MountFacts { cgroup, cgroup_ns: true, ..facts() });
    assert_eq!(step_at(&plan, "/mounts/0").to_string(), "mount cgroup2 on /sys/fs/cgroup source=cgroup ro");
}

#[test]
fn only_a_new_tmpfs_is_filled_with_what_it_covers() {
    let (plan, problems) = mounts(r#"{"destination": "/t", "type": "tmpfs", "options": ["tmpcopyup", "nodev"]}"#);
    assert_eq!(problems, []);
    assert_eq!(step_at(&plan, "/mounts/0").to_string(), "mount tmpfs on /t nodev, copy up what it covers");
    for other in [r#""type": "ramfs""#, r#""type": "bind", "source": "/s""#] {
        let (_, problems) = mounts(&format!(r#"{{"destination": "/t", {other}, "options": ["ro", "tmpcopyup"]}}"#));
        assert_eq!(problems.len(), 1, "{other}");
        assert_eq!(problems[0].pointer, "/mounts/0/options/1");
    }
}

#[test]
fn a_shared_mount_over_the_root_becomes_so_after_the_pivot() {
    let over =
        |options: &str| format!(r#"{{"destination": "/", "type": "bind", "source": "/s", "options": [{options}]}}"#);
    for (list, expected) in [
        (vec![r#""rbind", "shared""#], "bind recursively /s on /; mount_setattr shared on /"),
        (vec![r#""bind", "ro", "rshared""#], "bind /s on /, mount_setattr ro; mount_setattr shared on /"),
        (vec![r#""rbind", "rshared""#], "bind recursively /s on /; mount_setattr recursive shared on /"),
        (vec![r#""bind", "slave""#], "bind /s on /, mount_setattr slave"),
        (vec![r#""bind", "shared""#, r#""bind""#], "bind /s on /; bind /s on /"),
        (vec![r#""bind", "shared""#, r#""remount", "private""#], "bind /s on /; remount /, mount_setattr private"),
        (
            vec![r#""bind", "private""#, r#""remount", "shared""#],
            "bind /s on /, mount_setattr private; remount /; mount_setattr shared on /",
        ),
    ] {
        let (plan, problems) = mounts(&list.iter().map(|o| over(o)).collect::<Vec<_>>().join(","));
        assert_eq!(problems, []);
        let words: Vec<_> = words(&plan)
            .into_iter()
            .filter(|w| w.ends_with(" on /") || w.contains(" /,") || w == "remount /")
            .collect();
        let words: Vec<_> = words.into_iter().filter(|w| !w.contains("new mount namespace")).collect();
        assert_eq!(words.join("; "), expected);
    }
}

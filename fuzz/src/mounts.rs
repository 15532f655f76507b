//! Mounts: one line each, `destination type source option,option`, words parted by blanks.

use libcontainer::mounts::options;
use libcontainer::spec::{Linux, Mount, Process, Root, Spec};

/// Any lines are refused or planned, and the option words make masks that mount_setattr(2) takes.
pub fn mounts(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let mounts: Vec<Mount<'_>> = text.lines().take(64).map(mount).collect();
    for mount in &mounts {
        check_options(mount);
    }
    let process = Process { args: vec!["true".into()], cwd: Some("/".into()), ..Process::default() };
    crate::config::plans(&Spec {
        oci_version: Some("1.3.0".into()),
        process: Some(process),
        root: Some(Root { path: Some("rootfs".into()), ..Root::default() }),
        mounts,
        linux: Some(Linux::default()),
        ..Spec::default()
    });
}

fn mount(line: &str) -> Mount<'_> {
    let mut words = line.splitn(4, ' ');
    let mut next = || words.next().filter(|word| !word.is_empty());
    Mount {
        destination: next().unwrap_or_default().into(),
        kind: next().map(Into::into),
        source: next().map(Into::into),
        options: next().map(|list| list.split(',').map(Into::into).collect()).unwrap_or_default(),
        ..Mount::default()
    }
}

fn check_options(mount: &Mount<'_>) {
    let words: Vec<&str> = mount.options.iter().map(AsRef::as_ref).collect();
    let options = options::parse(words.iter().copied());
    for bits in [options.attr, options.rec_attr] {
        check_bits(bits);
    }
    let data = options.data.iter().map(|(place, _)| *place);
    let flags = options.super_flags.iter().map(|(place, _)| *place);
    let others =
        options.copy_up.into_iter().chain(options.id_map.map(|w| w.place)).chain(options.source_link.map(|w| w.0));
    for place in data.chain(flags).chain(others) {
        assert!(place < words.len(), "option {place} of {}", words.len());
    }
}

/// MOUNT_ATTR__ATIME.
const ATIME: u64 = 0x70;
/// Every attribute that a word can ask for.
const KNOWN: u64 = 0x0020_00ff;

/// What the kernel demands of mount_setattr(2): known bits, and an access time policy only with the whole field cleared.
fn check_bits(bits: options::Bits) {
    assert_eq!((bits.set | bits.clear) & !KNOWN, 0, "{bits:?}");
    assert!((bits.set | bits.clear) & ATIME == 0 || bits.clear & ATIME == ATIME, "{bits:?}");
    assert_eq!(bits.set & bits.clear & !ATIME, 0, "set and cleared: {bits:?}");
}

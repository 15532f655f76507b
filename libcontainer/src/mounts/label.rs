//! `linux.mountLabel`: the SELinux context of the files in the container's own file systems. Pure.
//! In: the label and a planned file system. Out: one more option of it, or a label for the root of the mount.
//! A bind mount keeps the labels that its files have; procfs, sysfs and cgroup file systems have theirs from the policy.
//! runtime-spec config-linux.md "Mount Label"; mount(8) "context=".

use std::ffi::CString;

use super::step::{Fs, Param};
use crate::error::Problem;
use crate::spec::Spec;

/// The annotation of crun that names the kind of context.
pub const KIND: &str = "run.oci.mount_context_type";

/// Options that fix the context of a file system; only one kind of each fits.
const KINDS: [(&str, &std::ffi::CStr); 4] = [
    ("context", c"context"),
    ("fscontext", c"fscontext"),
    ("defcontext", c"defcontext"),
    ("rootcontext", c"rootcontext"),
];

/// File systems whose labels are the policy's affair.
const NOT_LABELLED: [&str; 4] = ["proc", "sysfs", "cgroup", "cgroup2"];

/// The label that the mounts get.
#[derive(Debug, Clone)]
pub(crate) struct Label {
    option: CString,
    label: CString,
}

/// Reads the label. `enabled`: SELinux is on; a label that would have no effect is refused.
pub(crate) fn plan(spec: &Spec<'_>, enabled: bool, problems: &mut Vec<Problem>) -> Option<Label> {
    const AT: &str = "/linux/mountLabel";
    let label = spec.linux.as_ref()?.mount_label.as_deref().filter(|label| !label.is_empty())?;
    if !enabled {
        let problem = Problem::new(AT, "selinux", "a label, but SELinux is not enabled on this host");
        problems.push(problem.hint("leave the label out, or start the kernel with SELinux"));
        return None;
    }
    let given = spec.annotations.0.iter().find(|(name, _)| name == KIND);
    let kind = given.map_or("context", |(_, kind)| kind);
    let option = KINDS.iter().find(|(word, _)| *word == kind).map(|(_, option)| CString::from(*option));
    if option.is_none() {
        problems.push(Problem::new(format!("/annotations/{KIND}"), "selinux", "no kind of mount context"));
    }
    match CString::new(label).ok().filter(|label| label.as_bytes().len() <= super::params::MAX_PARAM) {
        Some(label) => Some(Label { option: option?, label }),
        None => {
            problems.push(Problem::new(AT, "selinux", "longer than 255 bytes, or has a NUL in it"));
            None
        }
    }
}

impl Label {
    /// Labels a planned file system of type `kind`, unless its own options do.
    pub(crate) fn put_on(&self, kind: &str, fs: &mut Fs) {
        let has_own = fs.params.iter().any(|p| KINDS.iter().any(|(_, option)| p.key.as_c_str() == *option));
        match kind {
            _ if has_own || NOT_LABELLED.contains(&kind) => {}
            // Its superblock belongs to the IPC namespace and has its context already: only the root gets a label.
            "mqueue" => fs.root_label = Some(self.label.clone()),
            _ => fs.params.push(Param { key: self.option.clone(), value: Some(self.label.clone()) }),
        }
    }
}

//! The document of `exec --process` → model → plan.

use libcontainer::host::HostFacts;
use libcontainer::plan::exec::{Inputs, build};
use libcontainer::seccomp::Load;
use libcontainer::spec;

use crate::check_error;

/// Any bytes are refused or planned.
pub fn process(data: &[u8]) {
    let document = match spec::process(data, "process.json") {
        Ok(document) => document,
        Err(error) => return check_error(&error),
    };
    let (facts, linux) = (HostFacts::assuming_root(), spec::Linux::default());
    for (available, join, seccomp) in [
        (u64::MAX >> 23, 0x6c02_0000, Load::Last),
        (u64::MAX >> 23, 0, Load::WithListener { dumpable: true }),
        (0, 0x7e02_0080, Load::Never),
    ] {
        let inputs = Inputs {
            facts: &facts,
            linux: &linux,
            cgroup: true,
            base: "",
            available,
            join,
            seccomp,
            denies_capset: true,
            keyring: true,
            id: "fuzz",
            root: true,
            strict: false,
        };
        match build(&document.value, &inputs, Vec::new(), |_, _| ()) {
            Err(error) => check_error(&error),
            Ok(plan) => assert!(!plan.steps.is_empty(), "a plan without steps"),
        }
    }
}

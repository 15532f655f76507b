//! The cgroup's part of the plan: which driver, who owns it, and what a `cgroup` mount shows.

use std::ffi::CString;

use super::Inputs;
use crate::cgroups::{self, CgroupPlan, MountView, systemd};
use crate::error::{Problem, Result};
use crate::host::HostFacts;
use crate::lifecycle::CgroupDriver;
use crate::mounts::cgroup::{CgroupHierarchy, CgroupView};
use crate::namespaces::{self, NamespacePlan};
use crate::spec::{Linux, Mount, Spec};

/// The cgroup by the driver that was asked for; none where the caller wants none.
///
/// # Errors
/// The host's facts cannot be had.
pub(super) fn plan(
    spec: &Spec<'_>,
    linux: &Linux<'_>,
    facts: &HostFacts,
    inputs: &Inputs<'_>,
    namespaces: &NamespacePlan,
    problems: &mut Vec<Problem>,
) -> Result<Option<CgroupPlan>> {
    if inputs.cgroup_driver == CgroupDriver::Disabled {
        return Ok(None);
    }
    let writable =
        spec.mounts.iter().any(|m| matches!(m.kind.as_deref(), Some("cgroup" | "cgroup2")) && is_writable(m));
    let delegated = namespaces.new & namespaces::CGROUP != 0 && writable;
    let uid = spec.process.as_ref().and_then(|p| p.user.as_ref()).map_or(0, |u| u.uid);
    let owner = match (&namespaces.id_maps, namespaces.joins_user()) {
        (Some(_), _) => namespaces::host_id(&linux.uid_mappings, uid),
        (None, true) => namespaces::host_id(&namespaces.joined_user.uid, uid),
        (None, false) => Some(uid),
    };
    let request = cgroups::Request {
        path: linux.cgroups_path.as_deref(),
        id: &inputs.request.id,
        resources: linux.resources.as_ref(),
        layout: facts.layout()?,
        rootless: facts.rootless(),
        owner: owner.filter(|_| delegated),
    };
    let mut plan = if inputs.cgroup_driver == CgroupDriver::Systemd {
        let manager = match facts.systemd() {
            Ok(manager) => manager,
            Err(problem) => {
                problems.push(problem);
                return Ok(None);
            }
        };
        systemd::plan(&request, manager, spec.annotations.0.iter().map(|(k, v)| (&**k, &**v)), problems)
    } else {
        let mut plan = CgroupPlan::build(&request, problems);
        if facts.rootless() {
            plan.leave_out(facts.layout()?, cgroups::refusal, problems);
        }
        plan
    };
    let leaf = spec.annotations.0.iter().find(|(name, _)| name == cgroups::LEAF_ANNOTATION);
    plan.plan_leaf(leaf.map(|(_, text)| &**text), facts.layout()?, problems);
    problems.extend(plan.ignored.iter().cloned());
    Ok(Some(plan))
}

fn is_writable(mount: &Mount<'_>) -> bool {
    !mount.options.iter().any(|o| o == "ro" || o == "rro")
}

/// A container without a cgroup of its own stays in the caller's, and that is what its cgroup mount shows. Read-only: in
/// it are processes that are not the container's.
pub(super) fn inherited_views(
    spec: &Spec<'_>,
    facts: &HostFacts,
    problems: &mut Vec<Problem>,
) -> Result<Vec<MountView>> {
    let mut views = Vec::new();
    for (i, mount) in spec.mounts.iter().enumerate().filter(|(_, m)| m.kind.as_deref() == Some("cgroup")) {
        if is_writable(mount) {
            let message = "a writable cgroup mount, but the container has no cgroup of its own";
            problems.push(Problem::new(format!("/mounts/{i}"), "mount-cgroup", message).hint("add the option ro"));
        }
        views = facts.layout()?.own_views();
    }
    Ok(views)
}

/// The cgroup driver's view in the words of the mounts.
pub(super) fn view(views: &[MountView], facts: &HostFacts) -> Result<CgroupView> {
    let c_string = |s: &str| CString::new(s).unwrap_or_default();
    match views {
        [] => Ok(CgroupView::None),
        [only] if only.v2 && only.name.is_empty() => {
            let mount = facts.layout()?.unified.as_ref().map_or("/sys/fs/cgroup", |u| u.mount.as_str());
            Ok(CgroupView::V2 { mountpoint: c_string(mount), dir: c_string(&only.source) })
        }
        views => Ok(CgroupView::V1 {
            hierarchies: views
                .iter()
                .map(|v| CgroupHierarchy { name: v.name.clone(), dir: c_string(&v.source), options: v.options.clone() })
                .collect(),
            links: views.iter().flat_map(|v| v.links.iter().map(|l| (l.clone(), v.name.clone()))).collect(),
        }),
    }
}

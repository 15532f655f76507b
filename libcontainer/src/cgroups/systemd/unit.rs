//! What is asked of systemd for a container: a scope with its properties, decided before any side effect. Pure.
//! systemd.scope(5), systemd.resource-control(5) "Delegate=", docs/adr/0012-systemd-client.md.

use serde_json::{Value as Json, json};

use super::super::plan::{CgroupPlan, Phase, Request};
use super::address::Instance;
use super::name::Names;
use super::properties::{self, Property};
use super::value::{Value, property};
use super::{POINTER, annotation};
use crate::error::Problem;

/// The manager that a container is to be given to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manager {
    /// Which.
    pub instance: Instance,
    /// Its own cgroup, without a trailing slash; empty for the root.
    pub cgroup: String,
}

/// A scope to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnitPlan {
    /// Unit and slice.
    pub names: Names,
    /// Who manages it.
    pub instance: Instance,
    /// The driver's properties: what an older systemd does not know of them is left out.
    pub properties: Vec<Property>,
    /// Those of annotations, which must be known.
    pub annotated: Vec<Property>,
    /// An annotation makes a failed unit stay.
    pub keeps_failed: bool,
}

/// A unit as later commands know it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredUnit {
    /// Its name.
    pub name: String,
    /// Who manages it.
    pub instance: Instance,
    /// See [`UnitPlan::keeps_failed`].
    pub keeps_failed: bool,
}

impl StoredUnit {
    /// The form of the state file.
    pub fn to_json(&self) -> Json {
        json!([self.name, self.instance.to_json(), self.keeps_failed])
    }

    /// Reads [`StoredUnit::to_json`]'s form.
    pub fn from_json(value: &Json) -> Option<StoredUnit> {
        let name = value.get(0)?.as_str().filter(|n| n.ends_with(".scope") && !n.contains('/'))?;
        let instance = Instance::from_json(value.get(1)?)?;
        Some(StoredUnit { name: name.into(), instance, keeps_failed: value.get(2)?.as_bool()? })
    }
}

/// The cgroup of a container as a scope of `manager`. `request.path` is the field as it stands, `slice:prefix:name`.
pub fn plan<'a>(
    request: &Request<'_>,
    manager: &Manager,
    annotations: impl Iterator<Item = (&'a str, &'a str)> + Clone,
    problems: &mut Vec<Problem>,
) -> CgroupPlan {
    let names = match Names::new(request.path, request.id, &manager.instance) {
        Ok(names) => names,
        Err(problem) => {
            problems.push(problem);
            return CgroupPlan::default();
        }
    };
    if !request.layout.is_v2() {
        let problem = Problem::new(POINTER, "systemd", "the systemd cgroup driver needs a host with cgroup v2 alone");
        problems.push(problem.hint("use the cgroupfs driver"));
        return CgroupPlan::default();
    }
    let path = format!("{}{}", manager.cgroup, names.cgroup());
    let mut plan = CgroupPlan::build(&Request { path: Some(&path), ..*request }, problems);
    // The slices are systemd's: Delegate= makes it give the controllers on.
    plan.wanted_controllers.clear();
    for write in &mut plan.writes {
        // The unit has the cpuset from its first moment on, by its properties.
        write.phase = write.phase.max(Phase::Limits);
    }
    let mut unit = UnitPlan {
        properties: driver_properties(request.id, &names),
        names,
        instance: manager.instance.clone(),
        annotated: Vec::new(),
        keeps_failed: annotation::keeps_failed(annotations.clone()),
    };
    unit.properties.extend(properties::from_writes(&plan.writes));
    annotation::add(annotations, &mut unit.annotated, problems);
    unit.properties.retain(|(name, _)| !unit.annotated.iter().any(|(annotated, _)| annotated == name));
    plan.unit = Some(Box::new(unit));
    plan
}

fn driver_properties(id: &str, names: &Names) -> Vec<Property> {
    let yes = |name: &str| (name.to_owned(), Value::Bool(true));
    vec![
        ("Description".into(), Value::Text(format!("container {id}"))),
        ("Slice".into(), Value::text(names.slice.as_str())),
        // The cgroup below is the container's: systemd neither looks into it nor cleans it up.
        yes("Delegate"),
        // No ordering after sysinit.target and no stop job before shutdown.target that the container's own order ignores.
        ("DefaultDependencies".into(), Value::Bool(false)),
        // A unit that failed would keep its name, and the next container of this name would be refused (systemd 236).
        ("CollectMode".into(), Value::text("inactive-or-failed")),
        yes("CPUAccounting"),
        yes("MemoryAccounting"),
        yes("IOAccounting"),
        yes("TasksAccounting"),
    ]
}

impl UnitPlan {
    /// What later commands need.
    pub fn stored(&self) -> StoredUnit {
        StoredUnit { name: self.names.unit.clone(), instance: self.instance.clone(), keeps_failed: self.keeps_failed }
    }

    /// Arguments of StartTransientUnit: name, mode, properties, further units. Any job that is in the way is replaced.
    pub(super) fn start_arguments(&self, pid: i32, unknown: &[String]) -> Vec<Value> {
        let known = self.properties.iter().filter(|(name, _)| !unknown.contains(name));
        let mut list: Vec<Value> =
            known.chain(&self.annotated).map(|(name, value)| property(name, value.clone())).collect();
        let pids = Value::Array("u".into(), vec![Value::Uint32(pid.unsigned_abs())]);
        list.push(property("PIDs", pids));
        let name = Value::text(self.names.unit.as_str());
        vec![
            name,
            Value::text("replace"),
            Value::Array("(sv)".into(), list),
            Value::Array("(sa(sv))".into(), Vec::new()),
        ]
    }

    /// Whether the kernel limits the tasks from the start of the unit.
    pub fn limits_tasks(&self) -> bool {
        self.properties.iter().any(|(name, _)| name == "TasksMax")
    }

    /// What is asked of systemd, in words.
    pub fn words(&self) -> Vec<String> {
        let one = |(name, value): &Property| match value {
            Value::Text(text) => format!("{name}={text}"),
            Value::Bool(yes) => format!("{name}={}", if *yes { "yes" } else { "no" }),
            Value::Uint64(u64::MAX) => format!("{name}=infinity"),
            Value::Uint64(n) => format!("{name}={n}"),
            other => format!("{name}={other:?}"),
        };
        let list: Vec<String> = self.properties.iter().chain(&self.annotated).map(one).collect();
        vec![format!("StartTransientUnit {} of {}: {}", self.names.unit, self.instance.words(), list.join(", "))]
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::cgroups::layout::Layout;

    pub fn planned(path: &str, annotations: &[(&str, &str)]) -> (CgroupPlan, Vec<Problem>) {
        let layout =
            Layout::from_text("0::/o\n", "32 20 0:29 / /c rw - cgroup2 cgroup2 rw\n", "cpuset cpu memory pids");
        let json = br#"{"memory": {"limit": 100}, "cpu": {"cpus": "0"}, "pids": {"limit": 5}}"#;
        let doc = crate::spec::resources(json, "r").unwrap();
        let mut problems = Vec::new();
        let request = Request {
            path: Some(path),
            id: "c1",
            resources: Some(&doc.value),
            layout: &layout,
            rootless: false,
            owner: None,
        };
        let manager = Manager { instance: Instance::System, cgroup: String::new() };
        let plan = plan(&request, &manager, annotations.iter().copied(), &mut problems);
        (plan, problems)
    }

    #[test]
    fn a_scope_has_its_place_its_properties_and_the_same_files_as_any_cgroup() {
        let (plan, problems) = planned("a-b.slice:p:n", &[]);
        assert_eq!(problems, []);
        assert_eq!(plan.places[0].directory(), "/c/a.slice/a-b.slice/p-n.scope");
        assert!(plan.wanted_controllers.is_empty() && plan.device_program.is_some());
        let files: Vec<_> = plan.writes.iter().map(|w| (&*w.file, w.phase)).collect();
        assert_eq!(files, [("cpuset.cpus", Phase::Limits), ("memory.max", Phase::Limits), ("pids.max", Phase::Final)]);
        let unit = plan.unit.unwrap();
        let words = unit.words().join("\n");
        for part in ["p-n.scope", "Slice=a-b.slice", "Delegate=yes", "MemoryMax=100", "TasksMax=5"] {
            assert!(words.contains(part), "{words}");
        }
        assert!(unit.limits_tasks() && !unit.keeps_failed);
        assert_eq!(StoredUnit::from_json(&unit.stored().to_json()), Some(unit.stored()));
    }

    #[test]
    fn annotated_properties_take_the_place_of_the_drivers() {
        let (plan, problems) =
            planned(":p:n", &[("org.systemd.property.CollectMode", "'inactive'"), ("org.systemd.property.Zeta", "1")]);
        assert_eq!(problems, []);
        let unit = plan.unit.unwrap();
        assert!(unit.keeps_failed);
        assert!(unit.properties.iter().all(|(name, _)| name != "CollectMode"));
        let arguments = unit.start_arguments(7, &["TasksMax".into()]);
        let Value::Array(_, list) = &arguments[2] else { panic!("no list") };
        let has = |name: &str| list.iter().any(|p| matches!(p, Value::Tuple(t) if t[0] == Value::text(name)));
        assert!(has("CollectMode") && has("Zeta") && has("PIDs") && has("MemoryMax") && !has("TasksMax"));
        assert_eq!(arguments.iter().map(Value::signature).collect::<String>(), "ssa(sv)a(sa(sv))");
    }

    #[test]
    fn what_cannot_be_asked_is_a_problem_of_the_plan() {
        for (path, annotations) in [("/a/b", &[][..]), (":p:n", &[("org.systemd.property.PIDs", "[uint32 1]")])] {
            let (_, problems) = planned(path, annotations);
            assert_eq!(problems.len(), 1, "{path}");
        }
    }

    #[test]
    fn a_stored_unit_that_is_none_is_not_taken() {
        for bad in [json!(["a.service", null, false]), json!(["../a.scope", null, false]), json!(["a.scope"]), json!(1)]
        {
            assert_eq!(StoredUnit::from_json(&bad), None, "{bad}");
        }
    }
}

//! What is made and written for a cgroup, in words: for `plan`.

use super::plan::{CgroupPlan, Phase};

impl CgroupPlan {
    /// What is made before the clone; nothing of it with the systemd driver.
    pub fn directories(&self) -> impl Iterator<Item = String> {
        let own = self.unit.is_none();
        let made = self.places.iter().filter(move |_| own).map(|place| format!("mkdir {}", place.directory()));
        let controllers = self.unified().filter(move |_| own && !self.needed_controllers.is_empty()).map(|place| {
            let words: Vec<String> = self.needed_controllers.iter().map(|c| format!("+{c}")).collect();
            format!("write \"{}\" to cgroup.subtree_control above {}", words.join(" "), place.directory())
        });
        made.chain(controllers)
    }

    /// What is written in a phase, each with its JSON pointer.
    pub fn values(&self, phase: Phase) -> Vec<(String, String)> {
        let file = |place: usize, file: &str| {
            self.places.get(place).map_or_else(|| file.to_owned(), |p| format!("{}/{file}", p.directory()))
        };
        let writes = self.writes.iter().filter(|w| w.phase == phase);
        let mut out: Vec<(String, String)> = writes
            .map(|w| (format!("write {:?} to {}", w.value, file(w.place, &w.file)), w.pointer.clone().into_owned()))
            .collect();
        if let (Some(program), Some(place)) = (&self.device_program, self.unified())
            && phase == self.program_phase()
        {
            let text = format!("attach a device program of {} instructions to {}", program.len(), place.directory());
            out.push((text, "/linux/resources/devices".to_owned()));
        }
        out
    }
}

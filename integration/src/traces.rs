//! How a case sees that a refused create did nothing.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use serde_json::json;

use crate::bundle::{self, Bundle};
use crate::container::{Container, Lab};
use crate::verdict::{Check, expect, same};

/// What would show that something was done: directories whose time of change tells of every entry made in them, also
/// of one that was removed again, and a file that the first hook makes.
pub struct Traces {
    pub dirs: Vec<(PathBuf, (i64, i64))>,
    marker: PathBuf,
}

impl Traces {
    /// Adds the hook to the bundle's config, and a mount whose destination must be made, then looks at the directories.
    pub fn lay(lab: &Lab, bundle: &mut Bundle) -> Check<Self> {
        let marker = bundle.dir.join("hook-ran");
        let hook = json!({"path": "/bin/touch", "args": ["touch", &marker]});
        bundle::set(&mut bundle.config, "/hooks", json!({"prestart": [hook]}));
        bundle::mount(&mut bundle.config, "/made", "tmpfs", "tmpfs", &[]);
        bundle.write()?;
        let dirs = [lab.root.clone(), bundle.rootfs()];
        let dirs = dirs.into_iter().map(|dir| changed(&dir).map(|time| (dir, time)));
        Ok(Self { dirs: dirs.collect::<Check<_>>()?, marker })
    }

    /// The places where something was done.
    pub fn seen(&self) -> Check<Vec<&PathBuf>> {
        let mut seen: Vec<&PathBuf> = Some(&self.marker).into_iter().filter(|m| m.exists()).collect();
        for (dir, time) in &self.dirs {
            if changed(dir)? != *time {
                seen.push(dir);
            }
        }
        Ok(seen)
    }
}

fn changed(dir: &PathBuf) -> Check<(i64, i64)> {
    let meta = fs::metadata(dir)?;
    Ok((meta.mtime(), meta.mtime_nsec()))
}

/// Nothing was done, and nothing is left.
pub fn nothing_done(container: &Container, traces: &Traces) -> Check {
    same("places where something was done", traces.seen()?, Vec::<&PathBuf>::new())?;
    expect(!container.pid_file().exists(), "a pid file was written")?;
    container.gone()
}

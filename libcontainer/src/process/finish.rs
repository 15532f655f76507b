//! The last steps of init and of exec'd processes: scheduling, limits, identity, capabilities.
//! Runs in the child, inside the container; allocates nothing. credentials(7), capabilities(7).

use std::ffi::CStr;
use std::io::Write;
use std::os::fd::AsFd;

use nix::errno::Errno;
use nix::unistd::chdir;

use super::child::Failure;
use super::message::Text;
use super::plan::ProcessPlan;
use super::program;
use super::steps::Act;
use crate::affinity;
use crate::capabilities::{CAP_SETGID, CAP_SYS_ADMIN};
use crate::error::errno_words;
use crate::landlock::Domain;
use crate::lsm::{Refused, selinux};
use crate::rootfs::file::read_small_file;
use crate::sys::{home, ids, mempolicy, prctl, sched};
use crate::terminal::stdio;

/// Applies one of the acts that only concern the process itself.
pub fn apply(act: &Act, process: &mut ProcessPlan) -> Result<(), Failure> {
    match act {
        Act::GiveStdio => give_stdio(process.uid),
        Act::Affinity(list) => Ok(affinity::set(list.as_ref())?),
        Act::AppArmor(profile) => profile.apply().map_err(label_refused),
        Act::SelinuxLabel(label, wanted) => selinux::apply(label, *wanted).map_err(label_refused),
        Act::Scheduler(attr) => Ok(sched::sched_setattr(attr)?),
        Act::IoPriority(io) => Ok(sched::ioprio_set_group(io.class, io.level)?),
        Act::MemoryPolicy(policy) => Ok(policy.apply()?),
        Act::Personality(domain) => Ok(mempolicy::set_personality(*domain)?),
        Act::Rlimit(limit) => Ok(ids::set_rlimit(limit.resource, limit.soft, limit.hard)?),
        Act::NoNewPrivileges => Ok(prctl::set_no_new_privs()?),
        Act::ChangeDirectory { as_user: true } if !process.cwd_refused => Ok(()),
        Act::ChangeDirectory { as_user } => {
            process.cwd_refused = !change_directory(&process.cwd, *as_user)?;
            Ok(())
        }
        Act::DropBounding => Ok(process.capabilities.drop_bounding()?),
        Act::BecomeUser => become_user(process),
        Act::Capabilities => {
            // Without no_new_privs only CAP_SYS_ADMIN may load a filter: it stays until that is done.
            let keep = if process.keep_sys_admin { 1 << CAP_SYS_ADMIN } else { 0 };
            Ok(process.capabilities.apply(keep)?)
        }
        Act::FinishCapabilities => Ok(process.capabilities.finish()?),
        Act::Home => find_home(process),
        Act::FindProgram => program::find(process),
        Act::Landlock => process.landlock.as_ref().map_or(Ok(()), Domain::enter),
        Act::Umask(mask) => {
            ids::umask(*mask);
            Ok(())
        }
        _ => Err(Failure::call("a step without an action", Errno::ENOSYS)),
    }
}

/// Engines know a refused label by the file's name between backquotes.
fn label_refused(refused: Refused) -> Failure {
    let file = refused.file.to_bytes().escape_ascii();
    Failure { errno: refused.errno as i32, text: Text::from_args(format_args!("write `/proc/thread-self/{file}`")) }
}

fn give_stdio(uid: u32) -> Result<(), Failure> {
    for fd in crate::sys::fd::stdio() {
        match stdio::give_pipe(fd, uid) {
            // A closed descriptor is the caller's affair.
            Ok(()) | Err(Errno::EBADF) => {}
            Err(e) => return Err(Failure::call("fchown stdio", e)),
        }
    }
    Ok(())
}

/// chdir as root, so that a directory closed to the user works as with a shell's `cd` before `su`; when root is refused
/// (NFS), once more as the user. Then the proof that the directory lies inside: the kernel prefixes the path of one that
/// does not with "(unreachable)" (CVE-2024-21626).
/// False: root was refused.
fn change_directory(cwd: &CStr, as_user: bool) -> Result<bool, Failure> {
    match chdir(cwd) {
        Ok(()) => {}
        Err(Errno::EACCES | Errno::EPERM) if !as_user => return Ok(false),
        Err(e) => return Err(Failure { errno: e as i32, text: Text::from_args(format_args!("chdir to cwd {cwd:?}")) }),
    }
    let mut buffer = [0_u8; 4096];
    match crate::sys::home::getcwd(&mut buffer) {
        Ok(path) if path.starts_with(b"/") => Ok(true),
        Ok(_) | Err(Errno::ENOENT) => {
            let text = Text::from_args(format_args!("cwd {cwd:?} is outside of the container's root"));
            Err(Failure { errno: Errno::EPERM as i32, text })
        }
        // Longer than a page: it cannot be "(unreachable)" by accident, but neither be checked.
        Err(e) => Err(Failure::call("getcwd", e)),
    }
}

fn become_user(process: &ProcessPlan) -> Result<(), Failure> {
    prctl::set_keepcaps(true)?;
    if process.set_groups {
        set_groups(&process.groups)?;
    }
    let unmapped = |what: &'static str, id: u32, e: Errno| match e {
        Errno::EINVAL => {
            let text = Text::from_args(format_args!("{what} {id}: id is not mapped in the user namespace"));
            Failure { errno: e as i32, text }
        }
        e => Failure::call(what, e),
    };
    ids::setresgid(process.gid).map_err(|e| unmapped("setresgid", process.gid, e))?;
    ids::setresuid(process.uid).map_err(|e| unmapped("setresuid", process.uid, e))?;
    prctl::set_keepcaps(false)?;
    // The change of credentials cleared it.
    Ok(prctl::set_pdeathsig(libc::SIGKILL)?)
}

/// setgroups(2). Where a user namespace around us denies it (its gid_map was written without privileges) nobody can drop
/// groups, and none is what the container gets to ask for.
fn set_groups(groups: &[u32]) -> Result<(), Failure> {
    let refused = match ids::setgroups(groups) {
        Err(Errno::EPERM) => ids::capget()?,
        other => return other.map_err(|e| Failure::call("setgroups", e)),
    };
    match (refused.effective & 1 << CAP_SETGID != 0, groups.is_empty()) {
        (true, true) => Ok(()),
        (true, false) => {
            Err(Failure::call("setgroups is denied in this user namespace (/proc/self/setgroups)", Errno::EPERM))
        }
        (false, _) => Err(Failure::call("setgroups needs CAP_SETGID", Errno::EPERM)),
    }
}

/// Adds HOME of the uid in the container's /etc/passwd, or "/".
fn find_home(process: &mut ProcessPlan) -> Result<(), Failure> {
    // No descriptor of the root: who may trace this process inside the container would see it. The container's own
    // directory is entered later.
    chdir(c"/")?;
    let uid = process.uid;
    let variable = home::variable(|buffer| {
        let (mut line, mut found) = ([0_u8; 4096], None);
        // Whatever stands in the file's place (nothing, a FIFO, a device): then there is no entry.
        let _ = read_small_file(nix::fcntl::AT_FDCWD, c"etc/passwd", &mut line, &mut |line| {
            found = home_in_line(line, uid).and_then(|home| {
                buffer.get_mut(..home.len())?.copy_from_slice(home);
                Some(home.len())
            });
            found.is_some()
        });
        found
    });
    process.envp.push(variable);
    Ok(())
}

/// The sixth field of a passwd(5) line whose third is `uid`.
pub fn home_in_line(line: &[u8], uid: u32) -> Option<&[u8]> {
    let mut fields = line.split(|b| *b == b':');
    let number = std::str::from_utf8(fields.nth(2)?).ok()?;
    if number.parse() != Ok(uid) {
        return None;
    }
    fields.nth(2).filter(|home| !home.is_empty())
}

/// One line on descriptor 2: `exec /x: exec format error`.
pub fn say_on_stderr(text: &[u8], errno: i32) {
    let mut line = Text::new();
    // Parts of the text are the image's or a hook's: one line, whatever is in them. Writing to a Text cannot fail.
    for chunk in text.utf8_chunks() {
        for c in chunk.valid().chars() {
            let _ = if c.is_control() { write!(line, "{}", c.escape_default()) } else { write!(line, "{c}") };
        }
        let _ = write!(line, "{}", chunk.invalid().escape_ascii());
    }
    if errno != 0 {
        let separator = if text.is_empty() { "" } else { ": " };
        let _ = write!(line, "{separator}{}", errno_words(errno));
    }
    let _ = line.write_all(b"\n");
    let [_, _, stderr] = crate::sys::fd::stdio();
    // Nobody to tell when even this fails.
    let _ = nix::unistd::write(stderr.as_fd(), line.as_bytes());
}

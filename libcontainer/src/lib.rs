//! OCI runtime-spec containers for Linux, for programs that run containers themselves. [`Container`] has the operations;
//! requests and answers are plain data; every failure is an [`Error`] with kind, stable code, errno, place in config.json
//! and hint.
//!
//! ```no_run
//! use libcontainer::{CgroupDriver, Container, Context, Create, Exec, Stdio};
//!
//! fn main() -> libcontainer::Result<()> {
//!     // First, before threads: the library starts this very program to make containers.
//!     libcontainer::reexec();
//!
//!     let context = Context {
//!         root: "/run/my-program".into(),
//!         root_given: true,
//!         cgroup_driver: CgroupDriver::Cgroupfs,
//!         rootless: None,
//!     };
//!     let create = Create { id: "web".into(), bundle: "/srv/web".into(), ..Create::default() };
//!     let web = Container::create(&context, &create, Stdio::default())?;
//!     web.start()?;
//!     let date = Exec { args: vec!["date".into()], ..Exec::default() };
//!     let status = web.exec(&date, Stdio::default())?.wait()?;
//!     println!("date ended with {status}");
//!     web.delete(true)
//! }
//! ```
//!
//! # What it asks of the program
//!
//! - [`reexec`] comes first in main. A program that did not call it gets an error in place of a container.
//! - The program is an ELF file that runs without set-user-ID bit and file capabilities, and finds its shared libraries
//!   without `$ORIGIN`: it is executed from a view that has no path.
//! - SIGCHLD is not ignored, and nobody waits for *any* child: hooks need their exit status.
//! - Who wants to reap a container's init is a subreaper (PR_SET_CHILD_SUBREAPER). Others wait with [`Container::wait`], or use
//!   [`Container::run_attached`], which also knows the exit code.
//!
//! # What it leaves alone
//!
//! The caller may have threads. Its environment, working directory, umask, signal dispositions and masks, namespaces,
//! subreaper and dumpable flags stay as they are. A terminal's signals reach the process that makes the container too, as
//! they reach any child: SIGINT during [`Container::create`] takes everything back.
//!
//! The modules below are what the program `wherry` is made of. `lifecycle::{create, run, exec}` change the process that
//! calls them and need it to have one thread; the others of `lifecycle` do not.
#![deny(missing_docs)]

#[doc(hidden)]
pub mod affinity;
#[doc(hidden)]
pub mod capabilities;
#[doc(hidden)]
pub mod cgroups;
#[doc(hidden)]
pub mod devices;
mod embed;
pub mod error;
#[doc(hidden)]
pub mod hooks;
#[doc(hidden)]
pub mod host;
#[doc(hidden)]
pub mod id_list;
#[doc(hidden)]
pub mod keyring;
#[doc(hidden)]
pub mod landlock;
pub mod lifecycle;
#[doc(hidden)]
pub mod loopback;
#[doc(hidden)]
pub mod lsm;
#[doc(hidden)]
pub mod memory_policy;
#[doc(hidden)]
pub mod mounts;
#[doc(hidden)]
pub mod namespaces;
#[doc(hidden)]
pub mod net_devices;
#[doc(hidden)]
pub mod notify_socket;
#[doc(hidden)]
pub mod personality;
#[doc(hidden)]
pub mod plan;
#[doc(hidden)]
pub mod process;
#[doc(hidden)]
pub mod procfs;
#[doc(hidden)]
pub mod rfc3339;
#[doc(hidden)]
pub mod rlimits;
#[doc(hidden)]
pub mod rootfs;
#[doc(hidden)]
pub mod scheduling;
#[doc(hidden)]
pub mod seccomp;
pub mod spec;
#[doc(hidden)]
pub mod state;
#[doc(hidden)]
pub mod sys;
#[doc(hidden)]
pub mod sysctl;
#[doc(hidden)]
pub mod terminal;
#[doc(hidden)]
pub mod trace;

pub use embed::{Container, Execution, reexec};
pub use error::{Error, ErrorKind, Problem, Result};
pub use lifecycle::{CgroupDriver, Context, Create, Exec, StateView, Status, Stdio, Update};

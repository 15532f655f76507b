//! Every mount option word.

use super::*;

pub const AREA: Area = Area { title: "Mount option words", rows: ROWS };

#[rustfmt::skip]
const ROWS: &[Row] = &[
    row("options/defaults", "`defaults` asks for nothing", "mounts::tmpfs_defaults mounts::bind_defaults"),
    row("options/bind", "bind, rbind", "mounts::bind_and_rbind"),
    row("options/remount", "remount changes the mount that is there", ""),
    row("options/ro", "ro and rw", "mounts::tmpfs_ro mounts::tmpfs_rw mounts::tmpfs_ro,rw mounts::bind_ro mounts::bind_rw mounts::clearing_rw"),
    row("options/nosuid", "nosuid and suid", "mounts::tmpfs_nosuid* mounts::tmpfs_suid,nosuid mounts::bind_nosuid mounts::clearing_suid"),
    row("options/nodev", "nodev and dev", "mounts::tmpfs_nodev* mounts::bind_nodev mounts::clearing_dev"),
    row("options/noexec", "noexec and exec", "mounts::tmpfs_noexec* mounts::bind_noexec mounts::clearing_exec"),
    row("options/sync", "sync, async, dirsync", "mounts::tmpfs_sync* mounts::tmpfs_dirsync"),
    row("options/noatime", "noatime and atime", "mounts::tmpfs_noatime* mounts::bind_noatime mounts::clearing_atime"),
    row("options/nodiratime", "nodiratime and diratime", "mounts::tmpfs_nodiratime* mounts::bind_nodiratime mounts::clearing_diratime"),
    row("options/relatime", "relatime and norelatime", "mounts::tmpfs_relatime mounts::tmpfs_norelatime mounts::bind_relatime mounts::clearing_relatime"),
    row("options/strictatime", "strictatime and nostrictatime", "mounts::tmpfs_strictatime* mounts::bind_strictatime mounts::clearing_strictatime"),
    row("options/lazytime", "lazytime and nolazytime", "mounts::tmpfs_lazytime*"),
    row("options/iversion", "iversion and noiversion", "mounts::tmpfs_iversion mounts::tmpfs_noiversion"),
    row("options/silent", "silent and loud", "mounts::tmpfs_silent mounts::tmpfs_loud"),
    row("options/mand", "mand and nomand, which the kernel has dropped, are taken", "mounts::tmpfs_mand mounts::tmpfs_nomand"),
    row("options/nosymfollow", "nosymfollow and symfollow", "mounts::tmpfs_nosymfollow* mounts::bind_nosymfollow mounts::clearing_symfollow"),
    row("options/propagation", "private, shared, slave, unbindable and their recursive forms", "mounts::propagation_*"),
    row("options/recursive-ro", "rro and rrw", "mounts::recursive_rro mounts::recursive_rrw"),
    row("options/recursive-nosuid", "rnosuid and rsuid", "mounts::recursive_rnosuid mounts::recursive_rsuid"),
    row("options/recursive-nodev", "rnodev and rdev", "mounts::recursive_rnodev mounts::recursive_rdev"),
    row("options/recursive-noexec", "rnoexec and rexec", "mounts::recursive_rnoexec mounts::recursive_rexec"),
    row("options/recursive-atime", "ratime, rdiratime, rrelatime, rstrictatime and their opposites: one value of the kernel's set", "mounts::recursive_r*atime mounts::recursive_rno*time"),
    row("options/recursive-nosymfollow", "rnosymfollow and rsymfollow", "mounts::recursive_rnosymfollow mounts::recursive_rsymfollow"),
    row("options/recursive-sync", "rsync, rasync, rdirsync, rmand, rnomand, which are not in the specification: as without r", "mounts::tmpfs_rsync* mounts::tmpfs_rdirsync mounts::tmpfs_rmand mounts::tmpfs_rnomand"),
    row("options/tmpcopyup", "tmpcopyup", "mounts::tmpcopyup"),
    row("options/idmap", "idmap and ridmap", "idmap::mappings idmap::recursive"),
    row("options/no-follow", "copy-symlink, src-nofollow, dest-nofollow", "mount_links::copy_symlink* mount_links::src_nofollow* mount_links::dest_nofollow*"),
    row("options/acl", "acl and noacl are the file system's", ""),
    row("options/last-wins", "of contradicting words the last wins, also among the access-time words", "mounts::tmpfs_ro,rw mounts::tmpfs_suid,nosuid mounts::tmpfs_strictatime,noatime mounts::tmpfs_noatime,relatime mounts::tmpfs_sync,async"),
];

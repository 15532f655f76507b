//! Where the static program starts.

use std::env::var;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let target = |name: &str| var(format!("CARGO_CFG_TARGET_{name}")).unwrap_or_default();
    // Its own entry point (libcontainer/src/sys/entry.rs) seals the binary before it is relocated, and jumps to libc's.
    if target("ENV") == "musl" && ["x86_64", "aarch64"].contains(&target("ARCH").as_str()) {
        // The usual linker is a C compiler, which passes on what follows -Wl.
        let bare = var("RUSTC_LINKER").is_ok_and(|linker| linker.ends_with("ld"));
        for argument in ["--undefined=wherry_entry", "--entry=wherry_entry"] {
            let prefix = if bare { "" } else { "-Wl," };
            println!("cargo::rustc-link-arg-bins={prefix}{argument}");
        }
    }
}

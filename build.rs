//! Where the static program starts.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let target = |name: &str| std::env::var(format!("CARGO_CFG_TARGET_{name}")).unwrap_or_default();
    // Its own entry point (libcontainer/src/sys/entry.rs) seals the binary before it is relocated, and jumps to libc's.
    if target("ENV") == "musl" && ["x86_64", "aarch64"].contains(&target("ARCH").as_str()) {
        println!("cargo::rustc-link-arg-bins=-Wl,--undefined=wherry_entry,--entry=wherry_entry");
    }
}

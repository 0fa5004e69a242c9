//! Compiles uWebSockets, whose C++ source is inside a crate, together with the small server of
//! `src/uwebsockets.cpp`.
//!
//! The crate's own build generates bindings with clang, which this server does not need. So the
//! crate is a dependency that is fetched (and pinned by Cargo.lock) but never built, and this
//! script compiles its files itself: without TLS and compression, and optimized across files as in
//! uWebSockets' own build.

use std::path::{Path, PathBuf};
use std::process::Command;

const CRATE: &str = "libuwebsockets-sys";

fn main() {
    println!("cargo:rerun-if-changed=src/uwebsockets.cpp");
    println!("cargo:rerun-if-changed=Cargo.lock");
    let uws = source().join("uWebSockets");
    let sockets = uws.join("uSockets/src");

    let mut c = cc::Build::new();
    for file in ["bsd.c", "context.c", "loop.c", "socket.c", "udp.c", "eventing/epoll_kqueue.c"] {
        c.file(sockets.join(file));
    }
    let mut cpp = cc::Build::new();
    cpp.cpp(true).std("c++20").file("src/uwebsockets.cpp").include(uws.join("src"));
    for build in [&mut c, &mut cpp] {
        build.include(&sockets).define("LIBUS_NO_SSL", None).define("UWS_NO_ZLIB", None);
        build.opt_level(3).flag("-flto").flag("-ffat-lto-objects").warnings(false);
        build.flag_if_supported(ARCHITECTURE);
    }
    cpp.cargo_metadata(false).compile("server");
    c.cargo_metadata(false).compile("usockets");
    // These flags are for this one binary, not for the library that the other servers link. They
    // choose GNU ld, because Rust's default linker cannot do gcc's link-time optimization.
    let out = PathBuf::from(std::env::var_os("OUT_DIR").expect("cargo says where"));
    for archive in ["libserver.a", "libusockets.a"] {
        println!("cargo:rustc-link-arg-bin=uwebsockets={}", out.join(archive).display());
    }
    for argument in
        ["-lstdc++", "-lm", "-lgcc_s", "-lc", "-fuse-ld=bfd", "-flto", "-O3", ARCHITECTURE]
    {
        println!("cargo:rustc-link-arg-bin=uwebsockets={argument}");
    }
}

/// uWebSockets' own build uses `native`. valgrind knows no instructions beyond this level, and
/// every x86 server of the last ten years has it.
#[cfg(target_arch = "x86_64")]
const ARCHITECTURE: &str = "-march=x86-64-v3";
#[cfg(not(target_arch = "x86_64"))]
const ARCHITECTURE: &str = "-O3";

/// The directory into which Cargo has unpacked the crate.
fn source() -> PathBuf {
    let cargo = std::env::var_os("CARGO").expect("cargo runs this");
    let output = Command::new(cargo)
        .args(["metadata", "--locked", "--format-version", "1"])
        .output()
        .expect("cargo metadata");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let packages = metadata["packages"].as_array().expect("packages");
    let found = packages.iter().find(|package| package["name"] == CRATE).expect(CRATE);
    let manifest = Path::new(found["manifest_path"].as_str().expect("a path"));
    manifest.parent().expect("a folder").to_owned()
}

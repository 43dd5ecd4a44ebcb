//! Has the program begin in `gl-entry`, which goes on to libc's `_start`, and be linked anew with another order of its
//! functions.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    for file in ["gl.txt", "plain.awk", "cc"] {
        println!("cargo:rerun-if-changed=../../hack/order/{file}");
    }
    // The architecture that is built for: a build script has no other way to know.
    if std::env::var("CARGO_CFG_TARGET_ARCH").is_ok_and(|arch| arch == "x86_64") {
        println!("cargo:rustc-link-arg-bin=gl=-Wl,--entry=gl_entry");
    }
}

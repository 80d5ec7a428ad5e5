//! Makes the C entry points from the API's spec, and sees to it that only the ICD's own symbols are
//! visible: a loader has functions of the same names.

use std::path::Path;

use weir_spec::{Spec, generate};

fn main() {
    let here = std::env::var("CARGO_MANIFEST_DIR").expect("Cargo sets it");
    let out = std::env::var("OUT_DIR").expect("Cargo sets it");

    let file = Path::new(&here).join("../../api/opencl/spec.rs");
    println!("cargo::rerun-if-changed={}", file.display());
    let spec = Spec::read(&file).unwrap_or_else(|error| panic!("{error}"));
    std::fs::write(
        Path::new(&out).join("generated.rs"),
        generate::guest::generate(&spec),
    )
    .expect("the build's folder can be written to");

    // Threads may be inside of it, and the kernel calls its fork handler: it is never unloaded.
    println!("cargo::rustc-cdylib-link-arg=-Wl,-z,nodelete");
    println!("cargo::rustc-cdylib-link-arg=-Wl,-Bsymbolic");
    println!("cargo::rustc-cdylib-link-arg=-Wl,-soname,libweir_opencl.so.1");
}

//! Makes the table and the worker's dispatch from the spec.

use std::path::PathBuf;
use std::process::ExitCode;

use weir_spec::{Spec, generate};

fn main() -> ExitCode {
    println!("cargo::rerun-if-changed=spec.rs");
    let out = PathBuf::from(std::env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    let spec = match Spec::read("spec.rs") {
        Ok(spec) => spec,
        Err(error) => {
            println!("cargo::error={error}");
            return ExitCode::FAILURE;
        }
    };
    for (file, code) in [
        ("table.rs", generate::table::generate(&spec)),
        ("worker.rs", generate::worker::generate(&spec)),
    ] {
        std::fs::write(out.join(file), code).expect("OUT_DIR can be written");
    }
    ExitCode::SUCCESS
}

//! For the build scripts of crates that are made of a spec.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use crate::{Error, Spec, generate};

/// Writes `table.rs` and `worker.rs` of the spec beside the crate into the build's folder.
pub fn api() -> ExitCode {
    write("spec.rs".as_ref(), |spec| {
        vec![
            ("table.rs", generate::table::generate(spec)),
            ("worker.rs", generate::worker::generate(spec)),
        ]
    })
}

/// Writes `generated.rs`, the guest library of the spec `file` (relative to the crate), into the
/// build's folder, and gives the library the name `soname`.
pub fn guest(file: impl AsRef<Path>, soname: &str) -> ExitCode {
    // Threads may be inside of it, and the kernel calls its fork handler: it is never unloaded.
    println!("cargo::rustc-cdylib-link-arg=-Wl,-z,nodelete");
    // Others may have functions of the same names, which are not its own.
    println!("cargo::rustc-cdylib-link-arg=-Wl,-Bsymbolic");
    println!("cargo::rustc-cdylib-link-arg=-Wl,-soname,{soname}");
    write(file.as_ref(), |spec| {
        vec![("generated.rs", generate::guest::generate(spec))]
    })
}

fn write(file: &Path, generate: impl Fn(&Spec) -> Vec<(&'static str, String)>) -> ExitCode {
    println!("cargo::rerun-if-changed={}", file.display());
    let written = Spec::read(file)
        .map_err(|error: Error| error.to_string())
        .and_then(|spec| {
            let out = std::env::var_os("OUT_DIR").ok_or("OUT_DIR is not set: cargo sets it")?;
            for (name, code) in generate(&spec) {
                let path = PathBuf::from(&out).join(name);
                std::fs::write(&path, code).map_err(|e| format!("{}: {e}", path.display()))?;
            }
            Ok(())
        });
    match written {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("cargo::error={error}");
            ExitCode::FAILURE
        }
    }
}

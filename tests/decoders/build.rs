//! Generates both sides of every API that has a spec.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use weir_spec::{generate::rounds, report};

fn main() -> ExitCode {
    match apis() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("cargo::error={error}");
            ExitCode::FAILURE
        }
    }
}

fn apis() -> Result<(), Box<dyn std::error::Error>> {
    let root = Path::new("../..").canonicalize()?;
    let out = PathBuf::from(std::env::var_os("OUT_DIR").ok_or("OUT_DIR is not set")?);
    println!("cargo::rerun-if-changed={}", root.join("api").display());
    let (mut modules, mut list) = (String::new(), String::new());
    for spec in report::specs(&root)? {
        let file = out.join(format!("{}.rs", spec.name));
        let (name, source) = (spec.name.clone(), spec.file.clone());
        std::fs::write(&file, rounds::generate(&rounds::without_hands(spec)))?;
        println!("cargo::rerun-if-changed={}", source.display());
        writeln!(modules, "pub mod {name} {{ include!({file:?}); }}")?;
        writeln!(
            list,
            "Sides {{ spec: {source:?}, api: &{name}::table::API, call: {name}::rounds::call, \
             library: {name}::rounds::library, guest: &{name}::guest::LIBRARY }},"
        )?;
    }
    let code = format!(
        "{modules}\n/// Both sides of every API.\npub static APIS: &[Sides] = &[\n{list}];\n"
    );
    std::fs::write(out.join("apis.rs"), code)?;
    Ok(())
}

//! The project's own test programs: each verifies itself and prints the same on both sides.

use std::ffi::OsString;
use std::fs;

use anyhow::{Context, Result};

use super::Tools;
use crate::commands::conformance::outcome::Outcome;
use crate::commands::conformance::side::Side;

/// Those that have no output to compare: what they measure, or who would have to end them.
const NOT_COMPARED: &[(&str, &str)] = &[
    ("bench", "measures"),
    ("heartbeat", "runs until it is ended"),
    ("load", "measures, until it is ended"),
    ("longkernel", "runs until it is ended"),
    ("quota", "prints the tenant's quota"),
    ("deflate", "is not OpenCL's"),
];

/// How often a program may be tried natively.
const NATIVE_TRIES: u32 = 4;

/// Runs all of them.
///
/// # Errors
/// When one cannot be started.
pub fn run(tools: &Tools, side: &Side) -> Result<Outcome> {
    let mut outcome = Outcome::default();
    let entries = fs::read_dir(&tools.programs)
        .with_context(|| format!("reading {}", tools.programs.display()))?;
    for entry in entries {
        let path = entry?.path();
        let name = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        if NOT_COMPARED.iter().any(|(other, _)| *other == name) {
            continue;
        }
        let command: Vec<OsString> = match name.as_str() {
            "hash" => vec![path.into(), "/bin/busybox".into()],
            script if script.ends_with(".py") => vec![tools.python.program().into(), path.into()],
            _ => vec![path.into()],
        };
        let mut ran = side.run(&name, &command, &[])?;
        // A vendor's own threads may crash, as PoCL's do at times when a part of the device goes. What fails
        // natively decides nothing, so it is tried again; through Weir everything has one try.
        for _ in 1..NATIVE_TRIES {
            if ran.succeeded || side.weir.is_some() {
                break;
            }
            ran = side.run(&name, &command, &[])?;
        }
        outcome.output(name, ran.succeeded, ran.stdout);
    }
    Ok(outcome)
}

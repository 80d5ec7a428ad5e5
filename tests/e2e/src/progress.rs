//! Which tests have passed, kept where it outlives the machine: if the rig itself breaks down, the
//! next one goes on where it stopped.

use std::collections::BTreeSet;
use std::fs::{self, OpenOptions};
use std::io::Write;

use anyhow::{Context, Result};

use crate::artifacts::Artifacts;

const FILE: &str = "passed";

/// Names of the tests that have passed in an earlier machine.
///
/// # Errors
/// The record cannot be read.
pub fn before(artifacts: &Artifacts) -> Result<BTreeSet<String>> {
    let path = artifacts.scratch.join(FILE);
    if !path.exists() {
        return Ok(BTreeSet::new());
    }
    let text = fs::read_to_string(&path).context("reading which tests have passed")?;
    Ok(text.lines().map(str::to_owned).collect())
}

/// Records that the test `name` has passed.
///
/// # Errors
/// The record cannot be written.
pub fn passed(artifacts: &Artifacts, name: &str) -> Result<()> {
    let path = artifacts.scratch.join(FILE);
    let mut file = OpenOptions::new().create(true).append(true).open(path)?;
    writeln!(file, "{name}").context("recording that a test has passed")
}

//! hashcat: kernels of thousands of lines, and binaries of them from its own cache the second time.

use std::fs;

use anyhow::Result;

use super::Tools;
use crate::commands::conformance::outcome::Outcome;
use crate::commands::conformance::side::{Side, words};

/// The MD5 of `weir42`.
const HASH: &str = "60b245c65056622bf06ec8c39ed5b33e";

/// Cracks it twice.
///
/// # Errors
/// When it cannot be started.
pub fn run(_tools: &Tools, side: &Side) -> Result<Outcome> {
    let _ = fs::remove_dir_all(side.folder.join("home"));
    let mut outcome = Outcome::default();
    for log in ["cold", "warm"] {
        let cracked = side.folder.join(format!("{log}.cracked"));
        let _ = fs::remove_file(&cracked);
        let mut command = words(["hashcat", "-m", "0", "-a", "3", "--force"]);
        command.extend(words(["--potfile-disable", "--outfile"]));
        command.push(cracked.clone().into());
        command.extend(words([HASH, "?l?l?l?l?d?d"]));
        let ran = side.run(log, &command, &[])?;
        let found = fs::read_to_string(&cracked).unwrap_or_default();
        outcome.output(log, ran.succeeded && !found.is_empty(), found.trim());
    }
    Ok(outcome)
}

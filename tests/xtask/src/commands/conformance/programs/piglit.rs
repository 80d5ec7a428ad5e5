//! piglit's tests of OpenCL; where a test has parts, those count.

use std::collections::BTreeMap;
use std::ffi::OsString;

use anyhow::{Context, Result};
use serde::Deserialize;
use serde_json::Value;

use super::Tools;
use crate::commands::conformance::outcome::{Outcome, Verdict};
use crate::commands::conformance::side::{Side, words};

/// The functions one by one.
///
/// # Errors
/// When it cannot be started or leaves no results.
pub fn api(_tools: &Tools, side: &Side) -> Result<Outcome> {
    run(side, &["-t", "^api"])
}

/// The whole profile: mostly the built-in functions of OpenCL C.
///
/// # Errors
/// As [`api`].
pub fn whole(_tools: &Tools, side: &Side) -> Result<Outcome> {
    run(side, &[])
}

fn run(side: &Side, options: &[&str]) -> Result<Outcome> {
    let results = side.folder.join("piglit");
    let _ = std::fs::remove_dir_all(&results);
    let mut command = words(["piglit", "run", "cl", "--overwrite", "--timeout", "120"]);
    command.extend(options.iter().map(OsString::from));
    command.push(results.clone().into());
    let ran = side.run("piglit", &command, &[("PIGLIT_COMPRESSION", "none")])?;
    let path = results.join("results.json");
    let mut outcome = match std::fs::read_to_string(&path) {
        Ok(text) => read(&text).with_context(|| format!("reading {}", path.display()))?,
        Err(_) => Outcome::default(),
    };
    outcome.verdict("status", Verdict::of(ran.succeeded));
    Ok(outcome)
}

#[derive(Deserialize)]
struct Results {
    tests: BTreeMap<String, Test>,
}

#[derive(Deserialize)]
struct Test {
    result: String,
    #[serde(default)]
    subtests: BTreeMap<String, Value>,
}

fn verdict(word: &str) -> Verdict {
    match word {
        "pass" => Verdict::Pass,
        "skip" | "notrun" => Verdict::Skip,
        _ => Verdict::Fail,
    }
}

fn read(text: &str) -> Result<Outcome> {
    let results: Results = serde_json::from_str(text)?;
    let mut outcome = Outcome::default();
    for (name, test) in results.tests {
        let parts: Vec<_> = test
            .subtests
            .iter()
            .filter(|(part, _)| *part != "__type__")
            .filter_map(|(part, value)| Some((part, value.as_str()?)))
            .collect();
        if parts.is_empty() {
            outcome.verdict(name, verdict(&test.result));
        } else {
            for (part, word) in parts {
                outcome.verdict(format!("{name}: {part}"), verdict(word));
            }
        }
    }
    Ok(outcome)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_count_where_there_are_any() {
        let text = r#"{"tests": {
            "api@a": {"result": "pass"},
            "api@b": {"result": "crash", "subtests": {"__type__": "Subtests"}},
            "api@c": {"result": "fail", "subtests": {"x": "pass", "y": "skip"}}
        }}"#;
        let outcome = read(text).unwrap();
        let found: Vec<_> = outcome
            .tests
            .iter()
            .map(|(n, f)| (n.as_str(), f.verdict))
            .collect();
        assert_eq!(
            found,
            [
                ("api@a", Verdict::Pass),
                ("api@b", Verdict::Fail),
                ("api@c: x", Verdict::Pass),
                ("api@c: y", Verdict::Skip)
            ]
        );
    }
}

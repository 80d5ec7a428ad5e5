//! CLBlast's own tests, which compare with a reference on the CPU.

use std::ffi::OsString;

use anyhow::Result;

use super::Tools;
use crate::commands::conformance::outcome::{Outcome, Verdict};
use crate::commands::conformance::side::{Side, words};

/// Dot products.
///
/// # Errors
/// When it cannot be started.
pub fn xdot(_tools: &Tools, side: &Side) -> Result<Outcome> {
    run(side, "clblast_test_xdot", &[])
}

/// Products of matrix and vector.
///
/// # Errors
/// As [`xdot`].
pub fn xgemv(_tools: &Tools, side: &Side) -> Result<Outcome> {
    run(side, "clblast_test_xgemv", &["-precision", "32"])
}

/// Products of matrices.
///
/// # Errors
/// As [`xdot`].
pub fn xgemm(_tools: &Tools, side: &Side) -> Result<Outcome> {
    run(side, "clblast_test_xgemm", &["-precision", "32"])
}

fn run(side: &Side, program: &str, options: &[&str]) -> Result<Outcome> {
    let mut command = words([program]);
    command.extend(options.iter().map(OsString::from));
    let ran = side.run(program, &command, &[])?;
    let mut outcome = read(&ran.stdout);
    outcome.verdict("status", Verdict::of(ran.succeeded));
    Ok(outcome)
}

/// Reads the lines of one character a test that follow `Testing 'WHAT' for 'OPTIONS':`.
fn read(text: &str) -> Outcome {
    let mut outcome = Outcome::default();
    let (mut routine, mut group, mut count) = (String::new(), String::new(), 0);
    for line in text.lines().map(without_colours) {
        let quoted = |number| line.split('\'').nth(number).unwrap_or_default().to_owned();
        if line.starts_with("* Starting tests for the") {
            routine = quoted(1);
        } else if line.starts_with("* Testing '") {
            group = format!("{}, {}", quoted(1), quoted(3));
            count = 0;
        } else if line.starts_with("* ") {
            group.clear();
        }
        let signs = line.trim();
        if group.is_empty()
            || line.starts_with('*')
            || !signs.chars().all(|sign| verdict(sign).is_some())
        {
            continue;
        }
        for verdict in signs.chars().filter_map(verdict) {
            count += 1;
            outcome.verdict(format!("{routine}, {group}, {count}"), verdict);
        }
    }
    outcome
}

fn verdict(sign: char) -> Option<Verdict> {
    match sign {
        ':' | '.' => Some(Verdict::Pass),
        'X' | '/' | '\\' => Some(Verdict::Fail),
        'o' | '-' => Some(Verdict::Skip),
        _ => None,
    }
}

/// `line` without the sequences that colour it.
fn without_colours(line: &str) -> String {
    let mut parts = line.split('\u{1b}');
    let mut plain = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        plain.push_str(part.split_once('m').map_or("", |(_, rest)| rest));
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_character_is_a_test() {
        let text = "\
* Starting tests for the \u{1b}[1m'SDOT'\u{1b}[0m routine. Legend:
   : -> Test produced correct results
* Testing with error margins of 0.5%
* Testing 'regular behaviour' for 'default':
   ::\u{1b}[31mX\u{1b}[0m
   -.
   Pass rate  75.0%: 3 passed / 1 skipped / 1 failed
* Completed all test-cases for this routine. Results:
   3 test(s) passed
";
        let outcome = read(text);
        let verdicts: Vec<_> = outcome.tests.values().map(|found| found.verdict).collect();
        use Verdict::{Fail, Pass, Skip};
        assert_eq!(verdicts, [Pass, Pass, Fail, Skip, Pass]);
        assert!(
            outcome
                .tests
                .contains_key("SDOT, regular behaviour, default, 1")
        );
    }
}

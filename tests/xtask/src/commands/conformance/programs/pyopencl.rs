//! PyOpenCL's own tests, from its source distribution, with the wheel of PyPI.

use anyhow::Result;

use super::Tools;
use crate::commands::conformance::outcome::{Outcome, Verdict};
use crate::commands::conformance::side::{Side, words};

const TESTS: &[&str] = &[
    "test_wrapper",
    "test_enqueue_copy",
    "test_clrandom",
    "test_array",
];

/// Those that are the package's own business or take minutes, unless everything is asked for.
const MORE_TESTS: &[&str] = &["test_algorithm", "test_clmath"];

/// Runs the tests file by file, so that a crash ends one of them only.
///
/// # Errors
/// When it cannot be started.
pub fn run(tools: &Tools, side: &Side) -> Result<Outcome> {
    let mut outcome = Outcome::default();
    let more = if tools.full { MORE_TESTS } else { &[] };
    for test in TESTS.iter().chain(more) {
        let file = tools.python.pyopencl_tests().join(format!("{test}.py"));
        let mut command = vec![tools.python.program().into()];
        command.extend(words(["-m", "pytest", "-v", "-p", "no:cacheprovider"]));
        command.push(file.into());
        let cache = side.folder.join("home").display().to_string();
        let variables = [("XDG_CACHE_HOME", cache.as_str()), ("COLUMNS", "400")];
        let ran = side.run(test, &command, &variables)?;
        read(&ran.stdout, &mut outcome);
    }
    Ok(outcome)
}

/// Reads the lines `FILE::NAME VERDICT`. A test that began and has no verdict crashed or hung.
fn read(text: &str, outcome: &mut Outcome) {
    for line in text.lines() {
        let Some((file, rest)) = line.split_once(".py::") else {
            continue;
        };
        // The list at the end, which has them once more.
        if file.contains(' ') {
            continue;
        }
        let file = file.rsplit('/').next().unwrap_or(file);
        let words = [
            (" PASSED", Verdict::Pass),
            (" XPASS", Verdict::Pass),
            (" FAILED", Verdict::Fail),
            (" ERROR", Verdict::Fail),
            (" SKIPPED", Verdict::Skip),
            (" XFAIL", Verdict::Skip),
        ];
        let found = words.iter().find_map(|(word, verdict)| {
            let (name, _) = rest.rsplit_once(word)?;
            Some((name, *verdict))
        });
        let (name, verdict) = found.unwrap_or((rest, Verdict::Fail));
        let name = without_addresses(name.trim());
        outcome.verdict(format!("{file}::{name}"), verdict);
    }
}

/// Names hold descriptions of devices with their addresses, which differ from run to run.
fn without_addresses(name: &str) -> String {
    let mut parts = name.split("0x");
    let mut plain = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        plain.push_str("0x");
        plain.push_str(part.trim_start_matches(|c: char| c.is_ascii_hexdigit()));
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_test_without_a_verdict_has_failed() {
        let text = "\
../sources/test/test_array.py::test_a[<Device 'x' at 0x55ab>] PASSED       [ 10%]
../sources/test/test_array.py::test_b SKIPPED (no images)       [ 20%]
../sources/test/test_array.py::test_c Fatal Python error: Segmentation fault
FAILED ../sources/test/test_array.py::test_d - AssertionError
";
        let mut outcome = Outcome::default();
        read(text, &mut outcome);
        let found: Vec<_> = outcome
            .tests
            .iter()
            .map(|(n, f)| (n.as_str(), f.verdict))
            .collect();
        assert_eq!(found[0].0, "test_array::test_a[<Device 'x' at 0x>]");
        let verdicts: Vec<_> = found.iter().map(|(_, verdict)| *verdict).collect();
        assert_eq!(verdicts, [Verdict::Pass, Verdict::Skip, Verdict::Fail]);
    }
}

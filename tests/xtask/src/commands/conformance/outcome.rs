//! What a program's tests came to, and how two runs compare.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// How one test ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    Pass,
    Fail,
    Skip,
}

impl Verdict {
    /// Pass or fail.
    pub fn of(passed: bool) -> Self {
        if passed { Self::Pass } else { Self::Fail }
    }
}

/// How one test ended and, where that is part of it, what it printed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    pub verdict: Verdict,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<String>,
}

/// The tests of one run, by name.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    pub tests: BTreeMap<String, Finding>,
    /// Measured figures, which are shown side by side and decide nothing.
    #[serde(default)]
    pub figures: BTreeMap<String, f64>,
}

impl Outcome {
    /// Adds a test that passes or not.
    pub fn verdict(&mut self, name: impl Into<String>, verdict: Verdict) {
        let finding = Finding {
            verdict,
            output: None,
        };
        self.tests.insert(name.into(), finding);
    }

    /// Adds a test whose output must be the same on both sides.
    pub fn output(&mut self, name: impl Into<String>, passed: bool, output: impl Into<String>) {
        let finding = Finding {
            verdict: Verdict::of(passed),
            output: Some(output.into()),
        };
        self.tests.insert(name.into(), finding);
    }
}

/// One program, natively and through Weir.
#[derive(Debug, Default, Serialize)]
pub struct Comparison {
    pub name: String,
    pub native_passed: usize,
    pub native_failed: usize,
    pub weir_passed: usize,
    pub weir_failed: usize,
    /// Names of tests that pass natively and do not through Weir, or print something else.
    pub regressions: Vec<String>,
}

/// Compares two runs of the program `name`. Whatever passes natively must pass through Weir with the
/// same output: a test that is skipped, or was never reached, has not passed.
pub fn compare(name: &str, native: &Outcome, weir: &Outcome) -> Comparison {
    let mut comparison = Comparison {
        name: name.into(),
        ..Comparison::default()
    };
    for (test, wanted) in &native.tests {
        match wanted.verdict {
            Verdict::Pass => {
                comparison.native_passed += 1;
                if weir.tests.get(test) != Some(wanted) {
                    comparison.regressions.push(test.clone());
                }
            }
            Verdict::Fail => comparison.native_failed += 1,
            Verdict::Skip => {}
        }
    }
    for (test, got) in &weir.tests {
        let wanted = native.tests.get(test);
        let differs = wanted
            .is_some_and(|wanted| wanted.verdict == Verdict::Pass && wanted.output != got.output);
        match got.verdict {
            Verdict::Pass if !differs => comparison.weir_passed += 1,
            Verdict::Pass | Verdict::Fail => comparison.weir_failed += 1,
            Verdict::Skip => {}
        }
    }
    comparison
}

/// What a person needs to see of why `test` is a regression.
pub fn explain(test: &str, native: &Outcome, weir: &Outcome) -> String {
    let output = |side: &Outcome| side.tests.get(test).and_then(|found| found.output.clone());
    let Some(got) = weir.tests.get(test) else {
        return "was not reached".into();
    };
    match (output(native), output(weir)) {
        (Some(wanted), Some(got)) if wanted != got => {
            let differing = wanted.lines().zip(got.lines()).find(|(a, b)| a != b);
            let (wanted, got) = differing.unwrap_or((&wanted, &got));
            format!(
                "natively `{}`, through Weir `{}`",
                brief(wanted),
                brief(got)
            )
        }
        _ => match got.verdict {
            Verdict::Skip => "was skipped".into(),
            _ => "failed".into(),
        },
    }
}

fn brief(text: &str) -> String {
    let line = text.replace('\n', " | ");
    match line.char_indices().nth(160) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_passes_natively_must_pass_the_same_way() {
        let mut native = Outcome::default();
        for name in ["same", "fails", "skipped", "unreached"] {
            native.verdict(name, Verdict::Pass);
        }
        native.verdict("fails everywhere", Verdict::Fail);
        native.output("prints", true, "1");
        native.output("differs", true, "1");
        let mut weir = Outcome::default();
        weir.verdict("same", Verdict::Pass);
        weir.verdict("fails", Verdict::Fail);
        weir.verdict("skipped", Verdict::Skip);
        weir.verdict("fails everywhere", Verdict::Pass);
        weir.output("prints", true, "1");
        weir.output("differs", true, "2");
        let comparison = compare("x", &native, &weir);
        assert_eq!(
            comparison.regressions,
            ["differs", "fails", "skipped", "unreached"]
        );
        assert_eq!((comparison.native_passed, comparison.native_failed), (6, 1));
        assert_eq!((comparison.weir_passed, comparison.weir_failed), (3, 2));
        assert_eq!(explain("unreached", &native, &weir), "was not reached");
        assert!(explain("differs", &native, &weir).contains("natively `1`"));
    }
}

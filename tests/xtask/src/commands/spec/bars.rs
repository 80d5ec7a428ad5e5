//! How much a spec may take: the bars, and how far each API still is above them.
//!
//! The goal is the same for every API and for all together. Where an API is above it, the file says by how
//! much at most; that may only go down: `cargo xtask spec coverage` lowers it, nothing raises it.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use weir_spec::report::{self, Report};

/// Where the bars stand, below the working tree's root.
const FILE: &str = "api/bars.json";
/// The name under which all APIs together stand there.
const TOTAL: &str = "total";
/// What is wanted.
const GOAL: Bar = Bar {
    lines_a_function: 12.0,
    hand_written_percent: 10.0,
};

/// Most spec lines a function, and most functions of a hundred with hand-written code.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
struct Bar {
    lines_a_function: f64,
    hand_written_percent: f64,
}

type Bars = BTreeMap<String, Bar>;

impl Bar {
    /// Where APIs with these reports stand, together.
    fn of(reports: &[&Report]) -> Self {
        let sum = |part: fn(&Report) -> usize| reports.iter().map(|r| part(r)).sum::<usize>();
        let functions = sum(|r| r.functions).max(1) as f64;
        Bar {
            lines_a_function: up(sum(|r| r.spec_lines) as f64 / functions),
            hand_written_percent: up(100.0 * sum(|r| r.hand_written) as f64 / functions),
        }
    }

    /// Each figure the one or the other's, as `choose` says.
    fn zip(self, other: Self, choose: fn(f64, f64) -> f64) -> Self {
        Bar {
            lines_a_function: choose(self.lines_a_function, other.lines_a_function),
            hand_written_percent: choose(self.hand_written_percent, other.hand_written_percent),
        }
    }
}

/// To one decimal, upwards, so that what was written down holds.
fn up(figure: f64) -> f64 {
    (figure * 10.0).ceil() / 10.0
}

/// Where each API of the working tree stands, and all together.
fn measured(root: &Path) -> Result<Bars> {
    let specs = report::specs(root)?;
    let reports: Vec<Report> = specs
        .iter()
        .map(|spec| Report::new(root, spec))
        .collect::<Result<_, _>>()?;
    let mut bars: Bars = reports
        .iter()
        .map(|report| (report.name.clone(), Bar::of(&[report])))
        .collect();
    bars.insert(TOTAL.into(), Bar::of(&reports.iter().collect::<Vec<_>>()));
    Ok(bars)
}

fn written_down(root: &Path) -> Result<Bars> {
    let file = root.join(FILE);
    let text = fs::read_to_string(&file).with_context(|| format!("reading {}", file.display()))?;
    serde_json::from_str(&text).with_context(|| format!("reading {}", file.display()))
}

/// What is allowed to an API: the goal, or what is written down where that is more.
fn allowed(written: &Bars, name: &str) -> Bar {
    written
        .get(name)
        .map_or(GOAL, |bar| bar.zip(GOAL, f64::max))
}

/// The bars, none higher than before.
fn lowered(written: &Bars, measured: &Bars) -> Bars {
    let lower = |(name, now): (&String, &Bar)| {
        let bar = now
            .zip(GOAL, f64::max)
            .zip(allowed(written, name), f64::min);
        (name.clone(), bar)
    };
    measured.iter().map(lower).collect()
}

/// Lowers the bars below `root` to where the APIs are.
///
/// # Errors
/// When a spec is wrong, or a file cannot be read or written.
pub fn lower(root: &Path) -> Result<()> {
    let bars = lowered(&written_down(root)?, &measured(root)?);
    let text = serde_json::to_string_pretty(&bars)? + "\n";
    fs::write(root.join(FILE), text).with_context(|| format!("writing {FILE}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bars(of: &[(&str, f64, f64)]) -> Bars {
        let bar = |&(name, lines_a_function, hand_written_percent): &(&str, f64, f64)| {
            let bar = Bar {
                lines_a_function,
                hand_written_percent,
            };
            (name.to_owned(), bar)
        };
        of.iter().map(bar).collect()
    }

    #[test]
    fn no_spec_is_longer_or_more_by_hand_than_before() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let written = written_down(&root).unwrap();
        for (name, now) in measured(&root).unwrap() {
            let most = allowed(&written, &name);
            assert!(
                now.lines_a_function <= most.lines_a_function
                    && now.hand_written_percent <= most.hand_written_percent,
                "{name} is at {now:?}; at most {most:?} is allowed ({FILE}), and the goal is {GOAL:?}"
            );
        }
    }

    #[test]
    fn bars_go_down_to_the_goal_and_never_up() {
        let written = bars(&[("a", 15.0, 20.0), ("b", 12.0, 10.0)]);
        let now = bars(&[("a", 13.0, 25.0), ("b", 8.0, 11.0), ("c", 40.0, 0.0)]);
        let wanted = bars(&[("a", 13.0, 20.0), ("b", 12.0, 10.0), ("c", 12.0, 10.0)]);
        assert_eq!(lowered(&written, &now), wanted);
    }

    #[test]
    fn apis_count_by_their_functions_in_the_total() {
        let report = |functions, spec_lines, hand_written| Report {
            name: String::new(),
            functions,
            generated: functions - hand_written,
            hand_written,
            unsupported: 0,
            spec_lines,
            hand_written_lines: 0,
        };
        let (large, small) = (report(90, 900, 9), report(10, 200, 0));
        let total = Bar::of(&[&large, &small]);
        assert_eq!(bars(&[("", 11.0, 9.0)])[""], total);
        assert_eq!(Bar::of(&[&report(3, 31, 1)]).lines_a_function, 10.4);
    }
}

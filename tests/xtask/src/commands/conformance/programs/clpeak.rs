//! clpeak: that each measurement is made decides; the figures are shown as ratios.

use anyhow::Result;

use super::Tools;
use crate::commands::conformance::outcome::{Outcome, Verdict};
use crate::commands::conformance::side::{Side, words};

const MEASUREMENTS: [&str; 3] = [
    "--global-bandwidth",
    "--transfer-bandwidth",
    "--kernel-latency",
];

/// Measures, one after the other.
///
/// # Errors
/// When it cannot be started.
pub fn run(_tools: &Tools, side: &Side) -> Result<Outcome> {
    let mut outcome = Outcome::default();
    for measurement in MEASUREMENTS {
        let log = measurement.trim_start_matches('-');
        let ran = side.run(log, &words(["clpeak", measurement]), &[])?;
        outcome.verdict(log, Verdict::of(ran.succeeded));
        read(log, &ran.stdout, &mut outcome);
    }
    Ok(outcome)
}

/// Reads the lines `NAME : FIGURE [UNIT]`.
fn read(log: &str, text: &str, outcome: &mut Outcome) {
    for line in text.lines() {
        let Some((name, value)) = line.split_once(':') else {
            continue;
        };
        let figure = value
            .split_whitespace()
            .next()
            .and_then(|word| word.parse::<f64>().ok());
        // The device's own figures come without a measurement's indentation.
        if let Some(figure) = figure
            && line.starts_with("      ")
        {
            let name = format!("{log}, {}", name.trim());
            outcome.verdict(&*name, Verdict::of(figure > 0.0));
            outcome.figures.insert(name, figure);
        } else if let Some(figure) = figure
            && name.trim() == "Kernel launch latency"
        {
            outcome.verdict(name.trim(), Verdict::of(figure > 0.0));
            outcome.figures.insert(name.trim().into(), figure);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_read() {
        let text = "\
Platform: Portable Computing Language
    Compute units   : 2
    Global memory bandwidth (GBPS)
      float   : 9.28
      float2  : 0.00
    Kernel launch latency : 12.50 us
";
        let mut outcome = Outcome::default();
        read("global-bandwidth", text, &mut outcome);
        assert_eq!(outcome.tests.len(), 3);
        assert_eq!(outcome.figures["global-bandwidth, float"], 9.28);
        assert_eq!(outcome.figures["Kernel launch latency"], 12.5);
        assert_eq!(
            outcome.tests["global-bandwidth, float2"].verdict,
            Verdict::Fail
        );
    }
}

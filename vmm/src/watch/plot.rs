//! What a plot shows: per accelerator, each tenant's share of its time over the time, beside what
//! the tenant was entitled to.

mod page;
mod svg;

use std::time::Duration;

use super::rates::{Rates, between};
use super::record::Recording;
use super::sample::{Sample, Use};

pub use page::page;
pub use svg::svg;

/// Most windows that are drawn side by side where none is asked for.
const WINDOWS_MAX: u64 = 400;

/// All that is drawn.
#[derive(Clone, Debug, PartialEq)]
pub struct Plot {
    /// What stands above it.
    pub title: String,
    /// How long it lasts, in seconds.
    pub seconds: f64,
    /// The length of the windows over which shares are taken.
    pub window: Duration,
    /// One for each accelerator.
    pub charts: Vec<Chart>,
    /// What happened: after how many seconds, and what.
    pub events: Vec<(f64, String)>,
}

/// One accelerator.
#[derive(Clone, Debug, PartialEq)]
pub struct Chart {
    /// Its name.
    pub accelerator: String,
    /// Its tenants.
    pub lines: Vec<Line>,
}

/// One tenant.
#[derive(Clone, Debug, PartialEq)]
pub struct Line {
    /// Its name.
    pub tenant: String,
    /// Windows, in the order of time.
    pub points: Vec<Point>,
    /// Over the windows in which it wanted the accelerator.
    pub mean: Option<Mean>,
}

/// One tenant in one window.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Point {
    /// From how many seconds after the beginning.
    pub from: f64,
    /// To how many.
    pub to: f64,
    /// Share of the accelerator's time.
    pub used: f64,
    /// Share that it was entitled to, where it wanted the accelerator.
    pub entitled: Option<f64>,
}

/// Means of a tenant.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Mean {
    /// Share of the accelerator's time.
    pub used: f64,
    /// Share that it was entitled to.
    pub entitled: f64,
    /// Wait for a turn on the device, in milliseconds.
    pub wait_ms: f64,
    /// Calls per second.
    pub calls: f64,
    /// For how many seconds it wanted the accelerator.
    pub seconds: f64,
}

impl Plot {
    /// The plot of `recording` under `title`, in windows of about `window` or of a length that suits
    /// the whole.
    pub fn new(recording: &Recording, title: impl Into<String>, window: Option<Duration>) -> Self {
        let samples = &recording.samples;
        let (first, last) = (&samples[0], &samples[samples.len() - 1]);
        let length = last.since(first);
        let window = window.unwrap_or_else(|| suitable(length));
        let seconds = |time_ms: u64| time_ms.saturating_sub(first.time_ms) as f64 / 1e3;

        let mut uses: Vec<&Use> = Vec::new();
        for found in samples.iter().flat_map(|sample| &sample.tenants) {
            if !uses.iter().any(|known| known.is_same(found)) {
                uses.push(found);
            }
        }
        let mut lines: Vec<(&Use, Line, Mean)> = uses
            .iter()
            .map(|of| (*of, line(of), Mean::default()))
            .collect();
        for (from, to) in windows(samples, window) {
            let rates = between(from, to);
            let span = (seconds(from.time_ms), seconds(to.time_ms));
            for (of, line, sum) in &mut lines {
                let mut each = to.tenants.iter().zip(&rates);
                let Some((_, rates)) = each.find(|(found, _)| found.is_same(of)) else {
                    continue;
                };
                line.points.push(Point {
                    from: span.0,
                    to: span.1,
                    used: rates.used,
                    entitled: rates.active.then_some(rates.entitled),
                });
                if rates.active {
                    sum.add(rates, span.1 - span.0);
                }
            }
        }
        let mut charts: Vec<Chart> = Vec::new();
        for (of, mut line, sum) in lines {
            line.mean = (sum.seconds > 0.0).then(|| sum.over(sum.seconds));
            let chart = charts
                .iter_mut()
                .find(|chart| chart.accelerator == of.accelerator);
            match chart {
                Some(chart) => chart.lines.push(line),
                None => charts.push(Chart {
                    accelerator: of.accelerator.clone(),
                    lines: vec![line],
                }),
            }
        }
        let within = recording
            .events
            .iter()
            .filter(|event| event.time_ms <= last.time_ms);
        Self {
            title: title.into(),
            seconds: length.as_secs_f64(),
            window,
            charts,
            events: within
                .map(|event| (seconds(event.time_ms), event.event.clone()))
                .collect(),
        }
    }
}

/// Pairs of samples at least `window` apart, one after the other. A window that a change of what a
/// tenant may use would fall into ends before it, if it is not too short then to say anything.
fn windows(samples: &[Sample], window: Duration) -> Vec<(&Sample, &Sample)> {
    let mut windows = Vec::new();
    let mut from = &samples[0];
    for pair in samples.windows(2) {
        let (before, to) = (&pair[0], &pair[1]);
        if to.changes_since(before) {
            if before.since(from) >= window / 2 {
                windows.push((from, before));
            }
            from = before;
        }
        if to.since(from) >= window {
            windows.push((from, to));
            from = to;
        }
    }
    windows
}

impl Mean {
    fn add(&mut self, rates: &Rates, seconds: f64) {
        self.seconds += seconds;
        self.used += rates.used * seconds;
        self.entitled += rates.entitled * seconds;
        self.wait_ms += rates.wait.as_secs_f64() * 1e3 * seconds;
        self.calls += rates.calls * seconds;
    }

    fn over(self, seconds: f64) -> Self {
        Self {
            used: self.used / seconds,
            entitled: self.entitled / seconds,
            wait_ms: self.wait_ms / seconds,
            calls: self.calls / seconds,
            seconds,
        }
    }
}

fn line(of: &Use) -> Line {
    Line {
        tenant: of.tenant.clone(),
        points: Vec::new(),
        mean: None,
    }
}

/// A second, unless that makes too many windows or too few.
fn suitable(length: Duration) -> Duration {
    let second = Duration::from_secs(1);
    let millis = length.as_millis() as u64;
    match millis / 1000 {
        0..10 => Duration::from_millis((millis / 10).max(1)),
        many if many > WINDOWS_MAX => Duration::from_secs(many.div_ceil(WINDOWS_MAX)),
        _ => second,
    }
}

/// Percent, as people write them.
fn percent(part: f64) -> String {
    format!("{:.1} %", 100.0 * part)
}

/// `text` within HTML or SVG.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            // No control character is allowed in XML, not even escaped.
            c if c.is_control() => escaped.push('?'),
            c => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::super::record::tests::record;
    use super::*;

    fn plot() -> Plot {
        let recording = Recording::read(&record()[..]).unwrap();
        Plot::new(&recording, "a <title>", None)
    }

    #[test]
    fn a_recording_becomes_shares_over_time() {
        let plot = plot();
        assert_eq!(plot.window, Duration::from_secs(1));
        assert_eq!(plot.events, [(10.0, "alice: share 3 → 1".to_owned())]);
        let [chart] = &plot.charts[..] else {
            panic!("one accelerator has one chart");
        };
        let alice = &chart.lines[0];
        assert_eq!(alice.points.len(), 20);
        // The window that the change falls into ends before it.
        let last = alice.points[9];
        assert!((last.to - 9.9).abs() < 1e-9 && last.entitled == Some(0.75));
        let early = alice.points[2];
        assert_eq!((early.from, early.to), (2.0, 3.0));
        assert!((early.used - 0.75).abs() < 1e-6 && early.entitled == Some(0.75));
        let late = alice.points[15];
        assert!((late.used - 0.5).abs() < 1e-6 && late.entitled == Some(0.5));
        let mean = alice.mean.unwrap();
        assert!((mean.used - 0.63).abs() < 0.01, "{mean:?}");
    }

    #[test]
    fn windows_suit_the_length() {
        let suits = |seconds| suitable(Duration::from_secs(seconds)).as_millis();
        assert_eq!([suits(5), suits(60), suits(4000)], [500, 1000, 10_000]);
        assert_eq!(suitable(Duration::ZERO).as_millis(), 1);
    }

    #[test]
    fn pictures_and_pages_are_whole_and_escaped() {
        let plot = plot();
        for text in [svg(&plot), page(&plot)] {
            assert!(text.contains("a &lt;title&gt;") && !text.contains("<title>a <"));
            assert!(text.contains("alice: share 3 → 1") && text.contains("75"));
            assert_eq!(text.matches("<svg").count(), 1);
            // Each opening tag has its end.
            for tag in ["svg", "g", "text", "table", "tr", "td"] {
                let opened = text.matches(&format!("<{tag}>")).count()
                    + text.matches(&format!("<{tag} ")).count();
                assert_eq!(opened, text.matches(&format!("</{tag}>")).count(), "{tag}");
            }
        }
        assert_eq!(escape("a\"b\u{1}"), "a&quot;b?");
    }
}

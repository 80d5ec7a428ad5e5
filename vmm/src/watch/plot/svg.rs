//! The picture, as SVG.

use std::fmt::Write as _;

use super::{Chart, Plot, escape, percent};

/// Colours that people with any colour vision can tell apart (Okabe and Ito).
const COLOURS: [&str; 8] = [
    "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000", "#8a7a00",
];

const WIDTH: f64 = 960.0;
const HEADER: f64 = 64.0;
/// Left and right of the area in which lines are drawn.
const LEFT: f64 = 64.0;
const RIGHT: f64 = 720.0;
const CHART_HEIGHT: f64 = 300.0;
/// Above a chart's area, for its name and the marks of events.
const CHART_TOP: f64 = 40.0;
/// Below it, for the axis.
const CHART_BOTTOM: f64 = 56.0;
const EVENT_LINE: f64 = 20.0;

/// The colour of the tenant number `index`.
pub(super) fn colour(index: usize) -> &'static str {
    COLOURS[index % COLOURS.len()]
}

/// Draws `plot`.
pub fn svg(plot: &Plot) -> String {
    let chart_height = CHART_TOP + CHART_HEIGHT + CHART_BOTTOM;
    let events_top = HEADER + chart_height * plot.charts.len() as f64;
    let events_height = match plot.events.len() {
        0 => 0.0,
        many => EVENT_LINE * (many as f64 + 1.5),
    };
    let height = events_top + events_height;
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" width=\"{WIDTH}\" \
         height=\"{height}\" font-family=\"system-ui, 'Segoe UI', 'DejaVu Sans', sans-serif\" \
         font-size=\"13\" fill=\"#222\">\n<rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n"
    );
    text(
        &mut out,
        LEFT,
        28.0,
        "font-size=\"19\" font-weight=\"600\"",
        &plot.title,
    );
    let subtitle = format!(
        "share of the device's time in windows of {} — solid: used, dashed: entitled",
        window(plot)
    );
    text(&mut out, LEFT, 50.0, "fill=\"#666\"", &subtitle);
    for (index, chart) in plot.charts.iter().enumerate() {
        let top = HEADER + chart_height * index as f64 + CHART_TOP;
        draw_chart(&mut out, plot, chart, top);
    }
    for (index, (seconds, event)) in plot.events.iter().enumerate() {
        let y = events_top + EVENT_LINE * (index as f64 + 0.8);
        mark(&mut out, LEFT + 9.0, y - 4.5, index + 1);
        text(
            &mut out,
            LEFT + 26.0,
            y,
            "",
            &format!("{seconds:.1} s   {event}"),
        );
    }
    out.push_str("</svg>\n");
    out
}

fn window(plot: &Plot) -> String {
    match plot.window.as_millis() {
        millis if millis % 1000 == 0 => format!("{} s", millis / 1000),
        millis => format!("{millis} ms"),
    }
}

fn draw_chart(out: &mut String, plot: &Plot, chart: &Chart, top: f64) {
    let bottom = top + CHART_HEIGHT;
    let span = plot.seconds.max(1e-3);
    let x = |seconds: f64| LEFT + (RIGHT - LEFT) * (seconds / span).clamp(0.0, 1.0);
    let y = |part: f64| bottom - CHART_HEIGHT * part.clamp(0.0, 1.0);

    text(
        out,
        LEFT,
        top - 22.0,
        "font-weight=\"600\"",
        &chart.accelerator,
    );
    for fifth in 0..=5 {
        let part = f64::from(fifth) / 5.0;
        line(out, (LEFT, y(part)), (RIGHT, y(part)), "#e3e3e3", "");
        let label = format!("{} %", 20 * fifth);
        text(
            out,
            LEFT - 8.0,
            y(part) + 4.5,
            "text-anchor=\"end\" fill=\"#555\"",
            &label,
        );
    }
    let step = tick(span);
    for number in 0..=(span / step + 1e-9) as u32 {
        let seconds = f64::from(number) * step;
        line(
            out,
            (x(seconds), bottom),
            (x(seconds), bottom + 5.0),
            "#999",
            "",
        );
        let label = if step < 1.0 {
            format!("{seconds:.1}")
        } else {
            format!("{seconds:.0}")
        };
        text(
            out,
            x(seconds),
            bottom + 20.0,
            "text-anchor=\"middle\" fill=\"#555\"",
            &label,
        );
    }
    line(out, (LEFT, bottom), (RIGHT, bottom), "#999", "");
    text(
        out,
        (LEFT + RIGHT) / 2.0,
        bottom + 40.0,
        "text-anchor=\"middle\" fill=\"#555\"",
        "seconds",
    );

    for (index, (seconds, _)) in plot.events.iter().enumerate() {
        let at = x(*seconds);
        line(
            out,
            (at, top - 6.0),
            (at, bottom),
            "#777",
            " stroke-dasharray=\"1 3\"",
        );
        // Marks of events close to one another stand beside each other.
        let near = plot.events[..index]
            .iter()
            .rev()
            .take_while(|(other, _)| at - x(*other) < 18.0);
        mark(out, at + 18.0 * near.count() as f64, top - 14.0, index + 1);
    }
    for (index, tenant) in chart.lines.iter().enumerate() {
        let colour = colour(index);
        let used = tenant.points.iter().map(|p| Some((p.from, p.to, p.used)));
        let entitled = tenant
            .points
            .iter()
            .map(|p| Some((p.from, p.to, p.entitled?)));
        let dashed = "stroke-width=\"1.4\" stroke-dasharray=\"6 4\" opacity=\"0.75\"";
        path(out, entitled, x, y, colour, dashed);
        path(out, used, x, y, colour, "stroke-width=\"2.2\"");
        legend(out, index, colour, tenant, top);
    }
}

fn legend(out: &mut String, index: usize, colour: &str, tenant: &super::Line, top: f64) {
    let left = RIGHT + 24.0;
    let y = top + 8.0 + 44.0 * index as f64;
    let style = " stroke-width=\"3\"";
    line(out, (left, y), (left + 22.0, y), colour, style);
    text(
        out,
        left + 30.0,
        y + 4.5,
        "font-weight=\"600\"",
        &tenant.tenant,
    );
    let means = match tenant.mean {
        Some(mean) => format!("{} of {}", percent(mean.used), percent(mean.entitled)),
        None => "idle".into(),
    };
    text(out, left + 30.0, y + 21.0, "fill=\"#555\"", &means);
}

/// Steps through `points` of from, to and height; where there is none the line ends and begins
/// anew.
fn path(
    out: &mut String,
    points: impl Iterator<Item = Option<(f64, f64, f64)>>,
    x: impl Fn(f64) -> f64,
    y: impl Fn(f64) -> f64,
    colour: &str,
    style: &str,
) {
    let mut steps = String::new();
    let mut drawing = false;
    for point in points {
        let Some((from, to, height)) = point else {
            drawing = false;
            continue;
        };
        let command = if drawing { 'L' } else { 'M' };
        let _ = write!(
            steps,
            "{command}{:.1} {:.1}H{:.1}",
            x(from),
            y(height),
            x(to)
        );
        drawing = true;
    }
    if !steps.is_empty() {
        let _ = writeln!(
            out,
            "<path d=\"{steps}\" fill=\"none\" stroke=\"{colour}\" stroke-linejoin=\"round\" {style}/>"
        );
    }
}

/// A round step that gives about eight marks over `span` seconds.
fn tick(span: f64) -> f64 {
    let rough = span / 8.0;
    let power = 10f64.powf(rough.log10().floor());
    let steps = [1.0, 2.0, 5.0, 10.0];
    let step = steps.into_iter().find(|step| step * power >= rough);
    step.unwrap_or(10.0) * power
}

fn text(out: &mut String, x: f64, y: f64, style: &str, content: &str) {
    let content = escape(content);
    let _ = writeln!(
        out,
        "<text x=\"{x:.1}\" y=\"{y:.1}\" {style}>{content}</text>"
    );
}

fn line(out: &mut String, from: (f64, f64), to: (f64, f64), colour: &str, style: &str) {
    let _ = writeln!(
        out,
        "<line x1=\"{:.1}\" y1=\"{:.1}\" x2=\"{:.1}\" y2=\"{:.1}\" stroke=\"{colour}\"{style}/>",
        from.0, from.1, to.0, to.1
    );
}

/// The number of an event.
fn mark(out: &mut String, x: f64, y: f64, number: usize) {
    let _ = writeln!(
        out,
        "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"8\" fill=\"#555\"/>"
    );
    let style = "text-anchor=\"middle\" font-size=\"10\" fill=\"#fff\"";
    text(out, x, y + 3.5, style, &number.to_string());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round() {
        for (span, step) in [
            (20.0, 5.0),
            (60.0, 10.0),
            (7.0, 1.0),
            (3600.0, 500.0),
            (0.5, 0.1),
        ] {
            assert!((tick(span) - step).abs() < 1e-9, "{span}: {}", tick(span));
        }
    }
}

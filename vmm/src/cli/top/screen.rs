//! How it looks. It is to be understood without colours: there are none, only bold and reversed
//! text beside marks.

use std::time::Duration;

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Clear, Paragraph};

use super::app::{App, Mode, Row};

const KEYS: &str = "up/down select   s sort   r reverse   e change   ? help   q quit";
/// Widths of the columns after the name.
const WIDTHS: [usize; 9] = [6, 6, 6, 6, 6, 11, 7, 4, 3];
const TITLES: [&str; 9] = [
    "SHARE", "1s", "60s", "ENTL", "WAIT", "MEMORY", "CALLS/S", "HELD", "CL",
];
const NAME_WIDTH: usize = 14;
/// How far below its entitlement a tenant is marked.
const LACKING: f64 = 0.05;
/// Narrowest bar that says anything.
const BAR_MIN: usize = 20;
const HELP: &str = "\
SHARE    its weight, and its cap where it has one
1s, 60s  its part of the accelerator's time
ENTL     the part it is entitled to, among those who want the
         accelerator; `<` marks one that gets 5 % less
WAIT     mean wait for a turn on the accelerator
MEMORY   device memory that it holds, of how much it may
CALLS/S  API calls in a second
HELD     part of the time that its own limits held it back
CL       processes that have the accelerator open

up/down, j/k   select a tenant
s              sort by the next of: configuration, use,
               lacking, wait, memory, calls
r              reverse the order
e or Enter     change the selected tenant's share, or other
               keys of its grant: share=5 cap=40% memory=3GiB
q or Ctrl-C    quit

Any key leaves this help.";

/// Draws `app`.
pub fn draw(app: &App, frame: &mut Frame<'_>) {
    let rows = [
        Constraint::Length(1),
        Constraint::Length(1),
        Constraint::Min(1),
        Constraint::Length(1),
        Constraint::Length(1),
    ];
    let [head, titles, body, message, keys] = Layout::vertical(rows).areas(frame.area());
    frame.render_widget(Paragraph::new(header(app)), head);
    let width = usize::from(titles.width);
    let bold = Style::new().add_modifier(Modifier::BOLD);
    frame.render_widget(Paragraph::new(Line::styled(columns(width), bold)), titles);
    frame.render_widget(Paragraph::new(table(app, body)), body);
    frame.render_widget(Paragraph::new(prompt(app)), message);
    frame.render_widget(Paragraph::new(KEYS), keys);
    if app.mode == Mode::Help {
        let area = centred(frame.area(), 64, HELP.lines().count() as u16 + 2);
        frame.render_widget(Clear, area);
        frame.render_widget(
            Paragraph::new(HELP).block(Block::bordered().title(" weir top ")),
            area,
        );
    }
}

fn header(app: &App) -> String {
    let busy = app
        .accelerators()
        .iter()
        .map(|(name, used)| format!("{name} {} busy", percent(*used)))
        .collect::<Vec<_>>()
        .join(", ");
    let sorted = match app.reversed {
        true => format!("{}, reversed", app.sort.title()),
        false => app.sort.title().to_owned(),
    };
    format!("weir top   {busy}   by {sorted}")
}

fn prompt(app: &App) -> Line<'_> {
    match &app.mode {
        Mode::Change {
            tenant,
            accelerator,
            typed,
        } => Line::from(vec![
            Span::raw(format!("change {tenant}.{accelerator}: {typed}")),
            Span::styled(" ", Style::new().add_modifier(Modifier::REVERSED)),
            Span::raw("  Enter applies, Esc leaves"),
        ]),
        _ => Line::raw(app.message.as_str()),
    }
}

/// The columns' titles for a screen of `width`.
fn columns(width: usize) -> String {
    let (name, bar) = layout(width);
    let mut line = format!(" {:<name$}", "TENANT");
    for (title, width) in TITLES.iter().zip(WIDTHS) {
        line.push_str(&format!(" {title:>width$}"));
    }
    if bar > 0 {
        line.push_str("  # used in 1s, | entitled");
    }
    line
}

/// Widths of the name and of the bar; no bar where it does not fit.
fn layout(width: usize) -> (usize, usize) {
    let fixed: usize = 1 + WIDTHS.iter().map(|width| width + 1).sum::<usize>();
    let left = width.saturating_sub(fixed + NAME_WIDTH);
    let name = NAME_WIDTH + left.min(16);
    let bar = width.saturating_sub(fixed + name + 4);
    (name, if bar >= BAR_MIN { bar.min(100) } else { 0 })
}

fn table(app: &App, area: Rect) -> Vec<Line<'static>> {
    if app.rows().is_empty() {
        return vec![Line::raw(" no machine with an accelerator is running")];
    }
    let (width, height) = (usize::from(area.width), usize::from(area.height));
    let selected = app.selected();
    // The selected row is always to be seen.
    let first = (selected + 1).saturating_sub(height);
    let rows = app.rows().iter().enumerate().skip(first).take(height);
    rows.map(|(index, row)| match index == selected {
        true => {
            let reversed = Style::new().add_modifier(Modifier::REVERSED);
            Line::styled(format!(">{}", line(row, width)), reversed)
        }
        false => Line::raw(format!(" {}", line(row, width))),
    })
    .collect()
}

/// A row, without its first column.
fn line(row: &Row, width: usize) -> String {
    let (name, bar) = layout(width);
    let share = match row.of.cap {
        Some(cap) => format!("{}/{cap}%", row.of.share),
        None => row.of.share.to_string(),
    };
    let lacks = row.lacks() > LACKING;
    let short = percent(row.short.used);
    let cells = [
        share,
        if lacks {
            format!("{}<", short.trim_end_matches('%'))
        } else {
            short
        },
        percent(row.long.used),
        percent(row.short.entitled),
        wait(row.short.wait),
        memory(row.of.memory, row.of.memory_quota),
        count(row.short.calls),
        format!("{:.0}%", 100.0 * row.short.throttled.min(9.99)),
        row.of.clients.to_string(),
    ];
    let title = match row.of.running {
        true => row.of.title(),
        false => format!("({})", row.of.title()),
    };
    let mut text = format!("{:<name$}", shortened(&title, name));
    for (cell, width) in cells.iter().zip(WIDTHS) {
        text.push_str(&format!(" {cell:>width$}"));
    }
    if bar > 0 {
        text.push_str("  ");
        text.push_str(&gauge(row, bar));
    }
    text
}

/// What was used as a bar, with a mark at what it was entitled to.
fn gauge(row: &Row, width: usize) -> String {
    let at = |part: f64| (part.clamp(0.0, 1.0) * width as f64).round() as usize;
    let (used, mark) = (at(row.short.used), at(row.short.entitled).min(width - 1));
    let cell = |index| match index {
        _ if index == mark => '|',
        _ if index < used => '#',
        _ => '.',
    };
    (0..width).map(cell).collect()
}

fn shortened(text: &str, width: usize) -> String {
    match text.chars().count() > width {
        true => text.chars().take(width - 1).chain(['~']).collect(),
        false => text.into(),
    }
}

fn percent(part: f64) -> String {
    match 100.0 * part {
        all if all >= 99.95 => "100%".into(),
        some => format!("{some:.1}%"),
    }
}

fn wait(time: Duration) -> String {
    match time.as_nanos() {
        0 => "-".into(),
        nanos @ 1..1_000_000 => format!("{}us", nanos / 1000),
        nanos @ 1_000_000..10_000_000 => format!("{:.1}ms", nanos as f64 / 1e6),
        nanos @ 10_000_000..10_000_000_000 => format!("{}ms", nanos / 1_000_000),
        nanos => format!("{}s", nanos / 1_000_000_000),
    }
}

fn memory(held: u64, quota: Option<u64>) -> String {
    format!("{}/{}", bytes(held), quota.map_or("-".into(), bytes))
}

fn bytes(count: u64) -> String {
    match count {
        ..1_048_576 => format!("{}K", count >> 10),
        1_048_576..1_073_741_824 => format!("{}M", count >> 20),
        _ if count.is_multiple_of(1 << 30) => format!("{}G", count >> 30),
        _ => format!("{:.1}G", count as f64 / f64::from(1 << 30)),
    }
}

fn count(number: f64) -> String {
    match number {
        ..1e5 => format!("{number:.0}"),
        ..1e8 => format!("{:.0}k", number / 1e3),
        _ => format!("{:.0}M", number / 1e6),
    }
}

fn centred(area: Rect, width: u16, height: u16) -> Rect {
    let (width, height) = (width.min(area.width), height.min(area.height));
    Rect {
        x: area.x + (area.width - width) / 2,
        y: area.y + (area.height - height) / 2,
        width,
        height,
    }
}

#[cfg(test)]
mod tests {
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;

    use super::super::app::Key;
    use super::super::app::tests::app;
    use super::*;

    fn shown(app: &App, width: u16, height: u16) -> Vec<String> {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        terminal.draw(|frame| draw(app, frame)).unwrap();
        let buffer = terminal.backend().buffer();
        let row = |y| {
            (0..width)
                .map(|x| buffer[(x, y)].symbol())
                .collect::<String>()
        };
        (0..height).map(|y| row(y).trim_end().to_owned()).collect()
    }

    fn words(line: &str) -> Vec<&str> {
        line.split_whitespace().collect()
    }

    #[test]
    fn all_fits_on_a_small_terminal() {
        let lines = shown(&app(), 80, 24);
        assert!(lines[0].starts_with("weir top   gpu0 95.0% busy   by order"));
        assert_eq!(words(&lines[1])[..3], ["TENANT", "SHARE", "1s"]);
        assert!(lines[1].ends_with("HELD  CL"), "{}", lines[1]);
        assert_eq!(
            words(&lines[2]),
            [
                ">alice.gpu0",
                "3",
                "75.0%",
                "75.0%",
                "75.0%",
                "-",
                "5M/1G",
                "12000",
                "0%",
                "0"
            ]
        );
        assert_eq!(
            words(&lines[3]),
            [
                "bob.gpu0", "1/40%", "20.0%", "20.0%", "25.0%", "2.5ms", "7M/-", "0", "0%", "0"
            ]
        );
        assert_eq!(lines[23], KEYS);
    }

    #[test]
    fn who_gets_too_little_is_marked() {
        let mut app = app();
        let mut sample = crate::watch::sample::Sample {
            time_ms: 5000,
            tenants: vec![],
        };
        for (name, share, busy) in [("alice", 3, 2175 + 2000), ("bob", 1, 580 + 100)] {
            let of = crate::watch::sample::tests::used(name, share, 5000, busy);
            sample.tenants.push(of);
        }
        app.take(sample);
        let lines = shown(&app, 80, 24);
        assert!(
            lines[3].contains('<') && !lines[2].contains('<'),
            "{lines:?}"
        );
    }

    #[test]
    fn large_terminals_have_bars_and_tiny_ones_do_not_break() {
        let lines = shown(&app(), 160, 50);
        assert!(lines[1].contains("# used in 1s, | entitled"));
        let bar = |line: &str| line.chars().filter(|c| *c == '#').count();
        assert!(bar(&lines[2]) > 2 * bar(&lines[3]), "{lines:?}");
        assert!(lines.iter().all(|line| line.chars().count() <= 160));
        for (width, height) in [(1, 1), (10, 3), (40, 5), (79, 24), (400, 120)] {
            for key in ['x', '?', 'e'] {
                let mut app = app();
                app.press(Key::Char(key));
                shown(&app, width, height);
            }
        }
        shown(&App::default(), 80, 24);
    }

    #[test]
    fn the_selected_row_is_to_be_seen() {
        let mut app = App::default();
        let tenants = (0..40)
            .map(|n| crate::watch::sample::tests::used(&format!("t{n}"), 1, 0, 0))
            .collect();
        app.take(crate::watch::sample::Sample {
            time_ms: 0,
            tenants,
        });
        (0..30).for_each(|_| drop(app.press(Key::Down)));
        let lines = shown(&app, 80, 24);
        assert!(
            lines.iter().any(|line| line.starts_with(">t30.gpu0")),
            "{lines:?}"
        );
    }

    #[test]
    fn help_and_changes_are_shown() {
        let mut app = app();
        app.press(Key::Char('?'));
        assert!(
            shown(&app, 80, 24)
                .join("\n")
                .contains("share=5 cap=40% memory=3GiB")
        );
        app.press(Key::Char('x'));
        app.press(Key::Char('e'));
        assert!(shown(&app, 80, 24)[22].starts_with("change alice.gpu0: share=3"));
    }

    #[test]
    fn numbers_are_short() {
        assert_eq!(
            [count(99_999.0), count(123_456.0), count(2e8)],
            ["99999", "123k", "200M"]
        );
        assert_eq!(
            [bytes(3 << 30), bytes(3 << 29), bytes(2000)],
            ["3G", "1.5G", "1K"]
        );
        let ms = Duration::from_millis;
        assert_eq!(
            [wait(ms(0)), wait(ms(5)), wait(ms(250))],
            ["-", "5.0ms", "250ms"]
        );
        assert_eq!(
            [wait(Duration::from_micros(12)), wait(ms(61_000))],
            ["12us", "61s"]
        );
        assert_eq!(shortened("abcdef", 4), "abc~");
    }
}

//! What is shown, and what keys do.

use std::cmp::Ordering;
use std::time::Duration;

use crate::supervisor::protocol::ToSupervisor;
use crate::watch::history::History;
use crate::watch::rates::Rates;
use crate::watch::sample::{Sample, Use};

/// The windows over which shares are shown.
const SHORT: Duration = Duration::from_secs(1);
const LONG: Duration = Duration::from_secs(60);
/// Longest text that can be typed.
const TYPED_MAX: usize = 200;

/// A key that means something here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Key {
    Char(char),
    Up,
    Down,
    Enter,
    Escape,
    Backspace,
    /// Ctrl-C or Ctrl-D.
    Leave,
}

/// What is to be done after a key.
#[derive(Debug, PartialEq)]
pub enum Wish {
    Nothing,
    Quit,
    Set(ToSupervisor),
}

/// By what rows are sorted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sort {
    #[default]
    Order,
    Used,
    Lacking,
    Wait,
    Memory,
    Calls,
}

impl Sort {
    const ALL: [Self; 6] = [
        Self::Order,
        Self::Used,
        Self::Lacking,
        Self::Wait,
        Self::Memory,
        Self::Calls,
    ];

    /// What it is called on the screen.
    pub fn title(self) -> &'static str {
        match self {
            Self::Order => "order of the configuration",
            Self::Used => "use over 1 s",
            Self::Lacking => "use below entitlement",
            Self::Wait => "wait",
            Self::Memory => "memory",
            Self::Calls => "calls",
        }
    }

    fn next(self) -> Self {
        let at = Self::ALL.iter().position(|sort| *sort == self).unwrap_or(0);
        Self::ALL[(at + 1) % Self::ALL.len()]
    }

    /// Largest first, unless it is the order of the configuration.
    fn compare(self, a: &Row, b: &Row) -> Ordering {
        match self {
            Self::Order => Ordering::Equal,
            Self::Used => b.short.used.total_cmp(&a.short.used),
            Self::Lacking => b.lacks().total_cmp(&a.lacks()),
            Self::Wait => b.short.wait.cmp(&a.short.wait),
            Self::Memory => b.of.memory.cmp(&a.of.memory),
            Self::Calls => b.short.calls.total_cmp(&a.short.calls),
        }
    }
}

/// One tenant's use of one accelerator.
#[derive(Clone, Debug)]
pub struct Row {
    pub of: Use,
    /// Over a second.
    pub short: Rates,
    /// Over a minute, or since there have been looks.
    pub long: Rates,
}

impl Row {
    /// How much less it got than it was entitled to, of the device's time over a second.
    pub fn lacks(&self) -> f64 {
        match self.short.active {
            true => self.short.entitled - self.short.used,
            false => 0.0,
        }
    }
}

/// What is over the table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    #[default]
    Table,
    Help,
    /// A change is typed, for this tenant and accelerator.
    Change {
        tenant: String,
        accelerator: String,
        typed: String,
    },
}

/// All that is shown.
pub struct App {
    history: History,
    rows: Vec<Row>,
    /// The title of the selected row.
    selected: Option<String>,
    pub sort: Sort,
    pub reversed: bool,
    pub mode: Mode,
    pub message: String,
}

impl Default for App {
    fn default() -> Self {
        Self {
            history: History::new(LONG),
            rows: Vec::new(),
            selected: None,
            sort: Sort::default(),
            reversed: false,
            mode: Mode::default(),
            message: String::new(),
        }
    }
}

impl App {
    /// Takes in the newest figures.
    pub fn take(&mut self, sample: Sample) {
        self.history.push(sample);
        self.arrange();
    }

    /// Shows `what` until the next key.
    pub fn say(&mut self, what: impl Into<String>) {
        self.message = what.into();
    }

    fn arrange(&mut self) {
        let Some(last) = self.history.last() else {
            return;
        };
        let short = self.history.rates(SHORT);
        let long = self.history.rates(LONG);
        let each = last.tenants.iter().zip(short).zip(long);
        self.rows = each
            .map(|((of, short), long)| Row {
                of: of.clone(),
                short,
                long,
            })
            .collect();
        let sort = self.sort;
        self.rows.sort_by(|a, b| sort.compare(a, b));
        if self.reversed {
            self.rows.reverse();
        }
        let gone = |title: &String| !self.rows.iter().any(|row| row.of.title() == *title);
        if self.selected.as_ref().is_none_or(gone) {
            self.selected = self.rows.first().map(|row| row.of.title());
        }
    }

    /// The rows in the order in which they are shown.
    pub fn rows(&self) -> &[Row] {
        &self.rows
    }

    /// The number of the selected row.
    pub fn selected(&self) -> usize {
        let is = |row: &Row| Some(row.of.title()) == self.selected;
        self.rows.iter().position(is).unwrap_or(0)
    }

    /// Each accelerator, with the part of its time that was used over a second.
    pub fn accelerators(&self) -> Vec<(&str, f64)> {
        let mut found: Vec<(&str, f64)> = Vec::new();
        for row in &self.rows {
            let name = row.of.accelerator.as_str();
            match found.iter_mut().find(|(known, _)| *known == name) {
                Some((_, used)) => *used += row.short.used,
                None => found.push((name, row.short.used)),
            }
        }
        found.sort_by_key(|(name, _)| *name);
        found
    }

    /// Does what `key` means; returns what others have to do.
    pub fn press(&mut self, key: Key) -> Wish {
        if key == Key::Leave {
            return Wish::Quit;
        }
        self.message.clear();
        match std::mem::take(&mut self.mode) {
            Mode::Table => return self.command(key),
            // Any key leaves the help.
            Mode::Help => {}
            Mode::Change {
                tenant,
                accelerator,
                mut typed,
            } => {
                match key {
                    Key::Char(c) if typed.chars().count() < TYPED_MAX => typed.push(c),
                    Key::Backspace => drop(typed.pop()),
                    Key::Escape => return Wish::Nothing,
                    Key::Enter => return self.enter(tenant, accelerator, &typed),
                    _ => {}
                }
                self.mode = Mode::Change {
                    tenant,
                    accelerator,
                    typed,
                };
            }
        }
        Wish::Nothing
    }

    fn command(&mut self, key: Key) -> Wish {
        match key {
            Key::Char('q') | Key::Escape => return Wish::Quit,
            Key::Char('?' | 'h') => self.mode = Mode::Help,
            Key::Up | Key::Char('k') => self.select(self.selected().saturating_sub(1)),
            Key::Down | Key::Char('j') => self.select(self.selected() + 1),
            Key::Char('s') => self.sort = self.sort.next(),
            Key::Char('r') => self.reversed = !self.reversed,
            Key::Char('e') | Key::Enter => {
                if let Some(row) = self.rows.get(self.selected()) {
                    self.mode = Mode::Change {
                        tenant: row.of.tenant.clone(),
                        accelerator: row.of.accelerator.clone(),
                        typed: format!("share={}", row.of.share),
                    };
                }
            }
            _ => {}
        }
        self.arrange();
        Wish::Nothing
    }

    fn select(&mut self, row: usize) {
        let last = self.rows.len().saturating_sub(1);
        let row = self.rows.get(row.min(last));
        self.selected = row.map(|row| row.of.title());
    }

    fn enter(&mut self, tenant: String, accelerator: String, typed: &str) -> Wish {
        let pair = |word: &str| {
            let (key, value) = word.split_once('=')?;
            Some((key.to_owned(), value.to_owned()))
        };
        let changes: Option<Vec<_>> = typed.split_whitespace().map(pair).collect();
        match changes {
            Some(changes) if !changes.is_empty() => Wish::Set(ToSupervisor::Set {
                tenant,
                accelerator: Some(accelerator),
                changes,
            }),
            _ => {
                self.say("write KEY=VALUE, such as share=5 or cap=40%");
                Wish::Nothing
            }
        }
    }
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use crate::watch::sample::tests::used;

    /// Alice has had 75 of every 100 ms and bob 20, for some seconds.
    pub fn app() -> App {
        let mut app = App::default();
        for tick in 0..30 {
            let mut alice = used("alice", 3, 100 * tick, 75 * tick);
            (alice.calls, alice.memory, alice.memory_quota) = (1200 * tick, 5 << 20, Some(1 << 30));
            let mut bob = used("bob", 1, 100 * tick, 20 * tick);
            (bob.memory, bob.turns, bob.queue_wait_ns) = (7 << 20, tick, 2_500_000 * tick);
            bob.cap = Some(40);
            let tenants = vec![alice, bob];
            let time_ms = 100 * tick;
            app.take(Sample { time_ms, tenants });
        }
        app
    }

    fn names(app: &App) -> Vec<&str> {
        app.rows()
            .iter()
            .map(|row| row.of.tenant.as_str())
            .collect()
    }

    #[test]
    fn rows_are_sorted_and_the_selection_stays_with_its_tenant() {
        let mut app = app();
        assert_eq!(names(&app), ["alice", "bob"]);
        app.press(Key::Down);
        assert_eq!(app.selected(), 1);
        app.press(Key::Down);
        assert_eq!(app.selected(), 1, "there is nothing below");
        app.press(Key::Char('r'));
        assert_eq!((names(&app), app.selected()), (vec!["bob", "alice"], 0));
        app.press(Key::Char('r'));
        while app.sort != Sort::Lacking {
            app.press(Key::Char('s'));
        }
        assert_eq!(names(&app), ["bob", "alice"]);
        app.press(Key::Char('j'));
        assert_eq!(app.selected(), 1);
    }

    #[test]
    fn a_share_can_be_changed() {
        let mut app = app();
        assert_eq!(app.press(Key::Char('e')), Wish::Nothing);
        app.press(Key::Backspace);
        for c in "15 cap=40%".chars() {
            app.press(Key::Char(c));
        }
        let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        let request = ToSupervisor::Set {
            tenant: "alice".into(),
            accelerator: Some("gpu0".into()),
            changes: vec![pair("share", "15"), pair("cap", "40%")],
        };
        assert_eq!(app.press(Key::Enter), Wish::Set(request));
        assert_eq!(app.mode, Mode::Table);
    }

    #[test]
    fn a_change_can_be_left_and_a_wrong_one_is_told() {
        let mut app = app();
        app.press(Key::Enter);
        app.press(Key::Char('q'));
        assert!(matches!(&app.mode, Mode::Change { typed, .. } if typed == "share=3q"));
        assert_eq!(app.press(Key::Escape), Wish::Nothing);
        assert_eq!(app.mode, Mode::Table);
        app.press(Key::Enter);
        (0..20).for_each(|_| drop(app.press(Key::Backspace)));
        assert_eq!(app.press(Key::Enter), Wish::Nothing);
        assert!(app.message.contains("share=5"));
    }

    #[test]
    fn it_can_be_left_from_everywhere() {
        for before in ['x', '?', 'e'] {
            let mut app = app();
            app.press(Key::Char(before));
            assert_eq!(app.press(Key::Leave), Wish::Quit);
        }
        assert_eq!(app().press(Key::Char('q')), Wish::Quit);
        assert_eq!(App::default().press(Key::Enter), Wish::Nothing);
    }
}

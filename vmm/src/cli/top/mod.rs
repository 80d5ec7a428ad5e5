//! `weir top`: a screen of who uses how much.
//!
//! One thread asks the supervisor; the main thread draws and reads keys. What is shown and what keys
//! do is in `app`, how it looks in `screen`; neither knows a terminal.

mod app;
mod screen;

use std::io::{self, IsTerminal};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use clap::Args;
use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEventKind, KeyModifiers};

use self::app::{App, Key, Wish};
use super::client::{Supervisor, Where};
use super::{Failure, parse_duration};
use crate::signals::EndSignals;
use crate::supervisor::protocol::{FromSupervisor, ToSupervisor};
use crate::watch::sample::Sample;

/// How long keys are waited for before the screen is looked after.
const KEY_TIME: Duration = Duration::from_millis(50);
/// How long after losing the supervisor it is looked for again.
const RETRY: Duration = Duration::from_secs(1);

/// Arguments of `weir top`.
#[derive(Debug, Args)]
#[command(after_help = "\
Keys: arrows or j and k select, s sorts by the next column and r reverses, e changes what the selected
tenant may use (such as share=5), ? helps, q or Ctrl-C quits.

For scripts use `weir ps --json`, `weir record`, or the `metrics` key of the configuration.")]
pub struct TopArgs {
    #[command(flatten)]
    place: Where,
    /// Time between looks
    #[arg(long, value_name = "TIME", default_value = "500ms", value_parser = parse_duration)]
    interval: Duration,
}

/// What another thread has to say.
enum Update {
    Sample(Sample),
    /// There is no supervisor.
    Lost(String),
    /// What came of a change.
    Said(String),
}

/// Shows the screen until the user leaves it.
pub(super) fn top(args: &TopArgs) -> Result<u8, Failure> {
    if !io::stdout().is_terminal() || !io::stdin().is_terminal() {
        return Err(Failure::usage_text(
            "`weir top` needs a terminal; for scripts there are `weir ps --json` and `weir record`",
        ));
    }
    let supervisor = Supervisor::connect(&args.place)?;
    let failed = |error: io::Error| Failure::other(&error);
    let signals = EndSignals::collect().map_err(failed)?;
    let (tell, updates) = channel();
    let (place, interval, teller) = (args.place.clone(), args.interval, tell.clone());
    // Not joined: it may wait for a machine that does not answer.
    thread::spawn(move || watch(supervisor, &place, interval, &teller));

    // Sets a panic hook, too, that leaves the terminal as it was.
    let mut terminal = ratatui::try_init().map_err(failed)?;
    let result = show(&mut terminal, &args.place, &signals, &tell, &updates);
    let restored = ratatui::try_restore();
    result.and(restored).map_err(failed)?;
    Ok(0)
}

/// Asks the supervisor again and again, until nobody listens.
fn watch(mut supervisor: Supervisor, place: &Where, interval: Duration, tell: &Sender<Update>) {
    loop {
        let begin = Instant::now();
        let update = match supervisor.machines() {
            Ok(vms) => Update::Sample(Sample::new(&vms)),
            Err(failure) => Update::Lost(failure.to_string()),
        };
        let lost = matches!(update, Update::Lost(_));
        if tell.send(update).is_err() {
            return;
        }
        if lost {
            thread::sleep(RETRY);
            if let Ok(again) = Supervisor::connect(place) {
                supervisor = again;
            }
        } else {
            thread::sleep(interval.saturating_sub(begin.elapsed()));
        }
    }
}

fn show(
    terminal: &mut DefaultTerminal,
    place: &Where,
    signals: &EndSignals,
    tell: &Sender<Update>,
    updates: &Receiver<Update>,
) -> io::Result<()> {
    let mut app = App::default();
    loop {
        for update in updates.try_iter() {
            match update {
                Update::Sample(sample) => app.take(sample),
                Update::Lost(why) => app.say(why),
                Update::Said(what) => app.say(what),
            }
        }
        terminal.draw(|frame| screen::draw(&app, frame))?;
        if signals.take() {
            return Ok(());
        }
        if !event::poll(KEY_TIME)? {
            continue;
        }
        let Some(key) = key(event::read()?) else {
            continue;
        };
        match app.press(key) {
            Wish::Nothing => {}
            Wish::Quit => return Ok(()),
            Wish::Set(request) => {
                let (place, tell) = (place.clone(), tell.clone());
                thread::spawn(move || {
                    let _ = tell.send(Update::Said(change(&place, &request)));
                });
            }
        }
    }
}

/// Has the supervisor change something; returns what came of it as a line.
fn change(place: &Where, request: &ToSupervisor) -> String {
    let answer = Supervisor::connect(place).and_then(|mut supervisor| supervisor.ask(request));
    match answer {
        Ok(FromSupervisor::Changed { values, notes, .. }) => {
            let changed = values
                .iter()
                .map(|(key, before, now)| format!("{key} {before} -> {now}"));
            changed.chain(notes).collect::<Vec<_>>().join(", ")
        }
        Ok(_) => "`weir up` is of another version".into(),
        Err(failure) => failure.to_string(),
    }
}

fn key(event: Event) -> Option<Key> {
    let Event::Key(key) = event else {
        return None;
    };
    if key.kind == KeyEventKind::Release {
        return None;
    }
    Some(match key.code {
        KeyCode::Char('c' | 'd') if key.modifiers.contains(KeyModifiers::CONTROL) => Key::Leave,
        KeyCode::Char(c) if !key.modifiers.contains(KeyModifiers::CONTROL) => Key::Char(c),
        KeyCode::Up => Key::Up,
        KeyCode::Down => Key::Down,
        KeyCode::Enter => Key::Enter,
        KeyCode::Esc => Key::Escape,
        KeyCode::Backspace => Key::Backspace,
        _ => return None,
    })
}

//! Commands that the device has not finished: their time, and their "complete" words.
//!
//! A guest learns that a command is complete from an answer (of a finish, a wait, a query). What is
//! complete by then must have had its word written before; so every answer is preceded by a
//! [`sweep`](Tracker::sweep). Sweeps also tell the VMM the time that commands took.

use std::collections::VecDeque;
use std::ffi::c_void;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use weir_wire::channel::Event;

use crate::library::{Library, Progress};
use crate::session::Session;

/// Value of a "complete" word: the command's data is there.
const DONE: u32 = 1;
/// Value of a "complete" word: the command failed.
const FAILED: u32 = 2;

/// So many lines may stay although they are empty, for the sake of their memory.
const FEW_LINES: usize = 16;

/// A command that was given to the device.
pub struct Outstanding {
    /// The library that it was given to.
    pub library: Arc<dyn Library>,
    /// Number of the command, for the VMM.
    pub id: u64,
    /// The library's event; one reference of it is ours. Null where the call that gives the command
    /// to the device is being made, and returns only when it is complete.
    pub event: *mut c_void,
    /// What the command was given to, such as a queue. Commands of one line end in order if
    /// `ordered`.
    pub line: u64,
    /// Whether the line is in order.
    pub ordered: bool,
    /// Offset of its "complete" word in the arena.
    pub done: Option<u64>,
    /// Input that it may still read.
    pub kept: Option<Box<[u8]>>,
    /// Whether the library has been asked to notify when it ends.
    pub watched: bool,
    /// What else a command behind a closed gate waits for; `None` once the VMM knows that nothing
    /// else is left, and where there is no gate.
    pub gated: Option<Waits>,
}

/// Events that a command waits for. One reference of each is ours.
pub struct Waits {
    /// The library's events.
    pub events: Vec<*mut c_void>,
    /// How many of them, from the first on, are known to have ended.
    pub ended: usize,
    /// Whether the library has been asked to notify when the next one ends.
    pub watched: bool,
}

// SAFETY: events of a vendor library may be used from any thread.
unsafe impl Send for Outstanding {}

struct Line {
    key: u64,
    ordered: bool,
    commands: VecDeque<Outstanding>,
}

/// All commands of a client that the device has not finished.
#[derive(Default)]
pub struct Tracker {
    count: AtomicUsize,
    /// Those of which the VMM does not know yet whether only their gates keep them.
    waiting: AtomicUsize,
    lines: Mutex<Vec<Line>>,
}

impl Tracker {
    /// Adds a command.
    pub fn add(&self, command: Outstanding) {
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        self.count.fetch_add(1, Ordering::Release);
        if command.gated.is_some() {
            self.waiting.fetch_add(1, Ordering::Release);
        }
        let (key, ordered) = (command.line, command.ordered);
        match lines
            .iter_mut()
            .find(|line| line.key == key && line.ordered == ordered)
        {
            Some(line) => line.commands.push_back(command),
            None => lines.push(Line {
                key,
                ordered,
                commands: VecDeque::from([command]),
            }),
        }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.count.load(Ordering::Acquire)
    }

    /// Puts `command`, if it is one, where the command of the same number is expected.
    pub fn arrive(&self, id: u64, line: u64, command: Option<Outstanding>) {
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        for line in lines.iter_mut().filter(|other| other.key == line) {
            let Some(index) = line.commands.iter().position(|other| other.id == id) else {
                continue;
            };
            line.commands[index].forget_waits(&self.waiting);
            match command {
                Some(command) => line.commands[index] = command,
                None => {
                    line.commands.remove(index);
                    self.count.fetch_sub(1, Ordering::Release);
                }
            }
            return;
        }
    }

    /// Whether somebody must look again when one of them has ended, although a call waits for one.
    pub fn is_busy(&self) -> bool {
        self.len() > 1 || self.waiting.load(Ordering::Acquire) > 0
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Finds every command that has ended: writes its "complete" word and tells the VMM its time.
    /// Finds also those which nothing but their gates keep, and tells the VMM.
    pub fn sweep(&self, session: &Session) {
        if self.is_empty() {
            return;
        }
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        for line in lines.iter_mut() {
            let mut index = 0;
            while let Some(command) = line.commands.get(index) {
                let progress = command.progress();
                if progress != Progress::Pending {
                    self.end(session, line.commands.remove(index), progress);
                } else {
                    line.commands[index].look_at_waits(session, &self.waiting);
                    if line.ordered {
                        break;
                    }
                    index += 1;
                }
            }
        }
        if lines.len() > FEW_LINES {
            lines.retain(|line| !line.commands.is_empty());
        }
    }

    fn end(&self, session: &Session, command: Option<Outstanding>, progress: Progress) {
        let Some(mut command) = command else { return };
        command.forget_waits(&self.waiting);
        self.count.fetch_sub(1, Ordering::Release);
        let (word, device_ns) = match progress {
            Progress::Complete { device_ns } => (DONE, device_ns),
            Progress::Failed | Progress::Pending => (FAILED, 0),
        };
        if let Some(at) = command.done {
            write_done(session, at, word);
        }
        // SAFETY: the command has been taken out of the list, so this is the last use of the event.
        unsafe { command.library.release(command.event) };
        session.report(command.id, Event::Executed { device_ns });
    }

    /// Has the library call `notify` with `data` when the next command ends. For a thread that is
    /// about to sleep; it sweeps once more afterwards.
    ///
    /// # Safety
    ///
    /// `notify` may be called with `data` at any later time, from any thread.
    pub unsafe fn watch(&self, notify: extern "C" fn(*mut c_void), data: *mut c_void) {
        if self.is_empty() {
            return;
        }
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        for line in lines.iter_mut() {
            let next = if line.ordered { 1 } else { line.commands.len() };
            for command in line.commands.iter_mut().take(next) {
                // SAFETY: as below.
                unsafe { command.watch_waits(notify, data) };
                if !command.watched && !command.event.is_null() {
                    // SAFETY: what is in the list has not been released; the caller answers for the
                    // rest.
                    command.watched =
                        unsafe { command.library.notify(command.event, notify, data) };
                }
            }
        }
    }
}

impl Outstanding {
    fn progress(&self) -> Progress {
        match self.event.is_null() {
            true => Progress::Pending,
            // SAFETY: what is in the list has not been released.
            false => unsafe { self.library.progress(self.event) },
        }
    }

    /// Tells the VMM if nothing but the gate keeps the command any more. Its line does not.
    fn look_at_waits(&mut self, session: &Session, waiting: &AtomicUsize) {
        let Some(waits) = &mut self.gated else { return };
        while let Some(event) = waits.events.get(waits.ended) {
            // SAFETY: one reference of the event is ours.
            if unsafe { self.library.progress(*event) } == Progress::Pending {
                return;
            }
            waits.ended += 1;
            waits.watched = false;
        }
        self.forget_waits(waiting);
        session.report(self.id, Event::Ready);
    }

    /// Lets go of what the command waits for.
    fn forget_waits(&mut self, waiting: &AtomicUsize) {
        let Some(waits) = self.gated.take() else {
            return;
        };
        waiting.fetch_sub(1, Ordering::Release);
        for event in waits.events {
            // SAFETY: the reference is ours, and this is its last use.
            unsafe { self.library.release(event) };
        }
    }

    /// Has the library notify when the next event that the command waits for has ended.
    ///
    /// # Safety
    ///
    /// As for [`Tracker::watch`].
    unsafe fn watch_waits(&mut self, notify: extern "C" fn(*mut c_void), data: *mut c_void) {
        if let Some(waits) = &mut self.gated
            && !waits.watched
            && let Some(event) = waits.events.get(waits.ended)
        {
            // SAFETY: one reference of the event is ours; the caller answers for the rest.
            waits.watched = unsafe { self.library.notify(*event, notify, data) };
        }
    }
}

/// Writes the "complete" word of a command that never was, because its call failed.
pub fn write_failed(session: &Session, at: u64) {
    write_done(session, at, FAILED);
}

fn write_done(session: &Session, at: u64, value: u32) {
    // The range was checked with the command; it need not be aligned, and then nobody polls it.
    match session.arena.memory().atomic_u32(at) {
        Ok(word) => word.store(value, Ordering::Release),
        Err(_) => log::debug!("a \"complete\" word at {at:#x} is not aligned"),
    }
}

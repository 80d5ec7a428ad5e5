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
    /// The library's event; one reference of it is ours.
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
    lines: Mutex<Vec<Line>>,
}

impl Tracker {
    /// Adds a command.
    pub fn add(&self, command: Outstanding) {
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        self.count.fetch_add(1, Ordering::Release);
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

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Finds every command that has ended: writes its "complete" word and tells the VMM its time.
    pub fn sweep(&self, session: &Session) {
        if self.is_empty() {
            return;
        }
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        for line in lines.iter_mut() {
            let mut index = 0;
            while let Some(command) = line.commands.get(index) {
                // SAFETY: what is in the list has not been released.
                let progress = unsafe { command.library.progress(command.event) };
                if progress != Progress::Pending {
                    self.end(session, line.commands.remove(index), progress);
                } else if line.ordered {
                    break;
                } else {
                    index += 1;
                }
            }
        }
        if lines.len() > FEW_LINES {
            lines.retain(|line| !line.commands.is_empty());
        }
    }

    fn end(&self, session: &Session, command: Option<Outstanding>, progress: Progress) {
        let Some(command) = command else { return };
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
                if !command.watched {
                    // SAFETY: what is in the list has not been released; the caller answers for the
                    // rest.
                    command.watched =
                        unsafe { command.library.notify(command.event, notify, data) };
                }
            }
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

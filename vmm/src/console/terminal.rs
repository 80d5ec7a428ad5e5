//! The terminal in raw mode, and back.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use rustix::termios::{OptionalActions, Termios, isatty, tcgetattr, tcsetattr};

/// A terminal that passes every key on as it is typed, until this is dropped.
pub struct RawTerminal {
    terminal: OwnedFd,
    before: Termios,
}

impl RawTerminal {
    /// Switches `input` to raw mode. `None` if it is not a terminal.
    pub fn enter(input: impl AsFd) -> io::Result<Option<Self>> {
        if !isatty(&input) {
            return Ok(None);
        }
        let before = tcgetattr(&input)?;
        let mut raw = before.clone();
        raw.make_raw();
        tcsetattr(&input, OptionalActions::Now, &raw)?;
        Ok(Some(Self {
            terminal: input.as_fd().try_clone_to_owned()?,
            before,
        }))
    }
}

impl Drop for RawTerminal {
    fn drop(&mut self) {
        if let Err(error) = tcsetattr(&self.terminal, OptionalActions::Flush, &self.before) {
            log::warn!("restoring the terminal: {error}");
        }
    }
}

//! What the user types, or what is piped in, on its way to the guest.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, AsRawFd, RawFd};

use super::escape::{Escape, Keys};
use crate::legacy::serial::SerialPort;

/// Most bytes that wait for a guest that does not read its console; more are lost.
const PENDING_MAX: usize = 1 << 20;

/// The console's input.
pub struct Input {
    source: Option<File>,
    /// Present if a person types.
    escape: Option<Escape>,
    /// Read, but not yet taken by the guest.
    pending: VecDeque<u8>,
    ended: bool,
}

/// What came of reading input.
#[derive(Debug, PartialEq, Eq)]
pub enum Progress {
    /// There may be more later.
    Open,
    /// There will be no more.
    Closed,
    /// The user wants the machine to end.
    EndMachine,
}

impl Input {
    /// Input from a duplicate of `source`; `typed` if that is a terminal in raw mode.
    pub fn new(source: impl AsFd, typed: bool) -> io::Result<Self> {
        Ok(Self {
            source: Some(File::from(source.as_fd().try_clone_to_owned()?)),
            escape: typed.then(Escape::default),
            ..Self::none()
        })
    }

    /// No input but what is [`push`](Self::push)ed.
    pub fn none() -> Self {
        Self {
            source: None,
            escape: None,
            pending: VecDeque::new(),
            ended: false,
        }
    }

    /// Adds input that came another way.
    pub fn push(&mut self, bytes: &[u8]) {
        if self.pending.len() + bytes.len() > PENDING_MAX {
            log::warn!(
                "the guest does not read its console; {} bytes are lost",
                bytes.len()
            );
            return;
        }
        self.pending.extend(bytes);
    }

    /// Reads what is there now; call it when the source is readable.
    pub fn read(&mut self) -> Progress {
        let Some(source) = &mut self.source else {
            return Progress::Closed;
        };
        let mut bytes = [0; 256];
        let len = match source.read(&mut bytes) {
            Ok(len) => len,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Progress::Open,
            Err(error) => {
                log::debug!("reading the console's input: {error}");
                0
            }
        };
        if len == 0 {
            self.ended = true;
            return Progress::Closed;
        }
        for byte in &bytes[..len] {
            let Some(escape) = &mut self.escape else {
                self.pending.push_back(*byte);
                continue;
            };
            match escape.feed(*byte) {
                Keys::End => return Progress::EndMachine,
                keys => self.pending.extend(keys.bytes()),
            }
        }
        Progress::Open
    }

    /// Gives `port` as much as it takes. Answers whether all is given, so that more may be read.
    pub fn feed(&mut self, port: &SerialPort) -> bool {
        let len = port.room().min(self.pending.len());
        let bytes: Vec<u8> = self.pending.drain(..len).collect();
        port.enqueue(&bytes);
        self.pending.is_empty()
    }

    /// The source's descriptor.
    pub fn fd(&self) -> Option<RawFd> {
        self.source.as_ref().map(AsRawFd::as_raw_fd)
    }

    /// The source's descriptor, as long as there may be more to read.
    pub fn open_fd(&self) -> Option<RawFd> {
        self.fd().filter(|_| !self.ended)
    }
}

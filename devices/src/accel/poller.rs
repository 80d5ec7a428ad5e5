//! The mediator thread's one epoll set.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use rustix::event::{Timespec, epoll};

/// What a descriptor in the set is there for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Token {
    /// The thread is to end.
    Quit,
    /// Workers have been started, or could not be.
    Arrivals,
    /// The worker of this number has exited.
    Exit(u32),
    /// The worker of this number says something.
    Talk(u32),
    /// The worker of this client has reported something, while the mediator slept.
    Completions(u32),
    /// The arbiter has something to say.
    Grants,
    /// A descriptor of the transport's, by a number of its own.
    Transport(u32),
}

impl Token {
    fn to_u64(self) -> u64 {
        let (kind, value) = match self {
            Token::Quit => (0, 0),
            Token::Arrivals => (1, 0),
            Token::Exit(n) => (2, n),
            Token::Talk(n) => (3, n),
            Token::Completions(n) => (4, n),
            Token::Transport(n) => (5, n),
            Token::Grants => (6, 0),
        };
        kind << 32 | u64::from(value)
    }

    fn from_u64(bits: u64) -> Token {
        let value = bits as u32;
        match bits >> 32 {
            0 => Token::Quit,
            1 => Token::Arrivals,
            2 => Token::Exit(value),
            3 => Token::Talk(value),
            4 => Token::Completions(value),
            6 => Token::Grants,
            _ => Token::Transport(value),
        }
    }
}

/// An epoll set.
#[derive(Debug)]
pub(super) struct Poller {
    epoll: OwnedFd,
}

/// When a descriptor is reported.
#[derive(Clone, Copy, Debug)]
pub(super) enum Trigger {
    /// As long as there is something to read.
    Level,
    /// Each time that something is written: an event that is never read.
    Edge,
}

impl Poller {
    pub(super) fn new() -> io::Result<Self> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        Ok(Self { epoll })
    }

    pub(super) fn add(&self, file: impl AsFd, token: Token, trigger: Trigger) -> io::Result<()> {
        let flags = match trigger {
            Trigger::Level => epoll::EventFlags::IN,
            Trigger::Edge => epoll::EventFlags::IN | epoll::EventFlags::ET,
        };
        let data = epoll::EventData::new_u64(token.to_u64());
        Ok(epoll::add(&self.epoll, file, data, flags)?)
    }

    /// Takes `file` out. Closing it is not enough where another process holds it too.
    pub(super) fn remove(&self, file: impl AsFd) {
        if let Err(error) = epoll::delete(&self.epoll, file) {
            log::debug!("taking a descriptor out of the epoll set: {error}");
        }
    }

    /// Waits up to `timeout` (or for ever), and replaces `tokens` by what has happened.
    pub(super) fn wait(&self, timeout: Option<Duration>, tokens: &mut Vec<Token>) {
        tokens.clear();
        let timeout = timeout.map(|time| Timespec {
            tv_sec: time.as_secs() as i64,
            tv_nsec: i64::from(time.subsec_nanos()),
        });
        let nothing = epoll::Event {
            flags: epoll::EventFlags::empty(),
            data: epoll::EventData::new_u64(0),
        };
        let mut events = [nothing; 32];
        match epoll::wait(&self.epoll, &mut events[..], timeout.as_ref()) {
            Ok(count) => tokens.extend(
                events[..count]
                    .iter()
                    .map(|event| Token::from_u64(event.data.u64())),
            ),
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => log::error!("waiting for the accelerator's events: {error}"),
        }
    }
}

//! Admission: when a command that has passed all checks may go to its worker.
//!
//! This is the seam for scheduling. A policy is asked about the command at the front of a client's
//! stream, again and again until it lets it go, and hears what each command has cost once the device
//! is done with it. A command held back holds up its own client's stream, and no other client's.
//!
//! A fair queue among tenants belongs here: in each mediator a policy that asks the accelerator's
//! one arbiter for a command that makes the device work ([`Request::device_time`]), lets through
//! everything else, and reports what it was charged for. It keeps few commands in flight, so that
//! a long queue buys nothing.

use weir_wire::function::Function;

/// A command that wants to go to its worker.
#[derive(Clone, Copy, Debug)]
pub struct Request {
    /// The client's number.
    pub client: u32,
    /// What it calls.
    pub function: &'static Function,
}

impl Request {
    /// Whether the command makes the device work.
    pub fn device_time(&self) -> bool {
        self.function.device_time
    }
}

/// What becomes of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// It goes now.
    Forward,
    /// It waits; the policy is asked again.
    Hold,
}

/// A policy of admission. It runs on the mediator's thread and must not block.
pub trait Admission: Send {
    /// Whether the command at the front of a client's stream may go now.
    fn admit(&mut self, request: Request) -> Decision;

    /// The device has worked for `device_ns` nanoseconds on a command of `client`.
    fn charge(&mut self, client: u32, device_ns: u64);

    /// Whether the policy decides by what is in flight, and so must hear of the end of a command at
    /// once. Otherwise it hears when the mediator next looks.
    fn listens(&self) -> bool;
}

/// Lets every command go at once, in the order in which it comes.
#[derive(Debug, Default)]
pub struct Fifo;

impl Admission for Fifo {
    fn admit(&mut self, _request: Request) -> Decision {
        Decision::Forward
    }

    fn charge(&mut self, _client: u32, _device_ns: u64) {}

    fn listens(&self) -> bool {
        false
    }
}

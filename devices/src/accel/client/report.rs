//! What a worker reports about commands, after the fact.

use std::time::Instant;

use weir_wire::arena::Lost;
use weir_wire::channel::{COMPLETIONS_COUNT, Completion, Event};
use weir_wire::handle::Handle;

use super::{Client, Desk};

/// A command that has been sent on.
#[derive(Debug)]
pub(super) struct Flight {
    pub(super) proposed: Vec<Handle>,
    /// When, where the device's time counts and has not been reported.
    pub(super) executing_since: Option<Instant>,
    pub(super) called: bool,
}

impl Client {
    /// Takes in what the worker has reported. Returns whether there was anything.
    ///
    /// # Errors
    /// The worker does not keep to the rules.
    pub(super) fn hear(&mut self, desk: &mut Desk) -> Result<bool, Lost> {
        // What was there when we began is gone through; what comes meanwhile may wait.
        for heard in 0..COMPLETIONS_COUNT {
            match self.channel.next_completion() {
                Ok(None) => return Ok(heard > 0),
                Ok(Some(completion)) => self.complete(desk, completion)?,
                Err(_) => return Err(Lost::Worker),
            }
        }
        Ok(true)
    }

    fn complete(&mut self, desk: &mut Desk, completion: Completion) -> Result<(), Lost> {
        let id = completion.id;
        if id >= self.next_id {
            return Err(Lost::Worker);
        }
        let Some(flight) = self.flights.get_mut(&id) else {
            return match completion.event {
                Event::Called { .. } => Err(Lost::Worker),
                // The work of a call that failed, late. It costs nothing.
                Event::Executed { .. } | Event::Ready => Ok(()),
            };
        };
        match completion.event {
            Event::Called { .. } if flight.called => return Err(Lost::Worker),
            Event::Called { bound, error } => {
                flight.called = true;
                if error != 0 {
                    flight.executing_since = None;
                }
                let mut freed = 0;
                for (index, handle) in flight.proposed.iter().enumerate() {
                    if bound >> index & 1 == 0 {
                        freed += self.objects.unbind(*handle);
                    }
                }
                desk.tenant.quota.give(freed);
                self.meter.set_memory(self.objects.bytes());
            }
            Event::Ready => {}
            Event::Executed { device_ns } => {
                if let Some(since) = flight.executing_since.take() {
                    let seen = u64::try_from(since.elapsed().as_nanos()).unwrap_or(u64::MAX);
                    let charged = device_ns.min(seen);
                    self.meter.device_time_ns.add(charged);
                    desk.admission.charge(self.id, charged);
                }
            }
        }
        if flight.called && flight.executing_since.is_none() {
            self.flights.remove(&id);
        }
        Ok(())
    }
}

//! What a worker reports about commands, after the fact.

use weir_wire::arena::Lost;
use weir_wire::channel::{COMPLETIONS_COUNT, Completion, Event};
use weir_wire::handle::Handle;

use super::super::arbiter::now;
use super::work::Work;
use super::{Client, Desk};

/// A command that has been sent on.
#[derive(Debug)]
pub(super) struct Flight {
    pub(super) proposed: Vec<Handle>,
    /// Which of them name an object, by position in words of 64.
    pub(super) bound: Vec<u64>,
    /// What it is to the device, where that has not been reported to have ended.
    pub(super) work: Option<Work>,
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
                Event::Called { .. } | Event::Bound { .. } => Err(Lost::Worker),
                // The work of a call that failed, late. It costs nothing.
                Event::Executed { .. } | Event::Ready => Ok(()),
            };
        };
        match completion.event {
            Event::Called { .. } | Event::Bound { .. } if flight.called => {
                return Err(Lost::Worker);
            }
            Event::Bound { word, bound } => match flight.bound.get_mut(word as usize) {
                Some(place) if word > 0 => *place = bound,
                _ => return Err(Lost::Worker),
            },
            Event::Called { bound, error } => {
                flight.called = true;
                self.uncalled -= 1;
                if let Some(first) = flight.bound.first_mut() {
                    *first = bound;
                }
                let failed = flight.work.take_if(|_| error != 0);
                let mut freed = 0;
                for (index, handle) in flight.proposed.iter().enumerate() {
                    if flight.bound[index / 64] >> (index % 64) & 1 == 0 {
                        freed += self.objects.unbind(*handle);
                    }
                }
                if let Some(work) = failed {
                    self.worked(id, &work, &mut desk.gates, None, now());
                }
                desk.tenant.quota.give(freed);
                self.meter.set_memory(self.objects.bytes());
            }
            Event::Ready => self.ready(id),
            Event::Executed { device_ns } => {
                if let Some(work) = flight.work.take() {
                    let (gates, time) = (&mut desk.gates, Some(device_ns));
                    let charged = self.worked(id, &work, gates, time, now());
                    self.meter.device_time_ns.add(charged);
                }
            }
        }
        let over = |flight: &Flight| flight.called && flight.work.is_none();
        if self.flights.get(&id).is_some_and(over) {
            self.flights.remove(&id);
        }
        Ok(())
    }
}

//! Devices whose queues are served by the VMM's one event loop.
//!
//! A device is activated and reset from a vCPU thread, while its queues are served from the
//! thread of the loop. [`EventLoop::attach`] carries them there, and dropping the [`Attachment`]
//! takes them back; neither waits for the loop, so that the loop's own thread may call them too.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use event_manager::{
    EventManager, EventOps, EventSet, Events, MutEventSubscriber, RemoteEndpoint, SubscriberId,
};
use vmm_sys_util::eventfd::EventFd;

use super::queue::Served;

/// What the VMM's event loop holds: `EventManager<Subscriber>`.
pub type Subscriber = Arc<Mutex<dyn MutEventSubscriber + Send>>;

/// Why the event loop cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The loop has ended, or cannot be woken.
    #[error("the event loop does not answer")]
    Gone(#[source] event_manager::Error),
}

/// Serves the queues of one activated device.
pub trait QueueService: Send {
    /// The driver may have made buffers available in queue `index`. Where this leaves some
    /// ([`Served::Some`]), it is called again after the loop's other work.
    fn serve(&mut self, index: usize) -> Served;
}

/// A handle on the VMM's event loop, given to each device that is served by it.
#[derive(Clone)]
pub struct EventLoop {
    remote: RemoteEndpoint<Subscriber>,
}

impl EventLoop {
    /// A handle on `manager`, whoever runs it.
    pub fn new(manager: &EventManager<Subscriber>) -> Self {
        Self {
            remote: manager.remote_endpoint(),
        }
    }

    /// From now on calls `service` on the loop's thread whenever one of `kicks` is signalled, with
    /// that event's index.
    ///
    /// # Errors
    /// The loop has ended.
    pub fn attach(
        &self,
        kicks: Vec<EventFd>,
        service: impl QueueService + 'static,
    ) -> Result<Attachment, Error> {
        let service: Slot = Arc::new(Mutex::new(Some(Box::new(service))));
        let id = Arc::new(OnceLock::new());
        let subscriber: Subscriber = Arc::new(Mutex::new(Kicked {
            kicks,
            service: service.clone(),
        }));
        let assigned = id.clone();
        self.remote
            .fire(move |ops| {
                let _ = assigned.set(ops.add_subscriber(subscriber));
            })
            .map_err(Error::Gone)?;
        Ok(Attachment {
            service,
            id,
            event_loop: self.clone(),
        })
    }
}

type Slot = Arc<Mutex<Option<Box<dyn QueueService>>>>;

/// Keeps a device's queues served. Once it is dropped, the service no longer runs and no longer
/// exists.
pub struct Attachment {
    service: Slot,
    /// Set by the loop when it takes the subscriber in, which precedes its taking it out.
    id: Arc<OnceLock<SubscriberId>>,
    event_loop: EventLoop,
}

impl Drop for Attachment {
    fn drop(&mut self) {
        // Waits for a run in progress; the loop finds nothing to run from here on.
        self.service
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        let id = self.id.clone();
        // The events must leave the loop's epoll set before they are closed, hence by the loop.
        let removed = self.event_loop.remote.fire(move |ops| {
            if let Some(id) = id.get() {
                let _ = ops.remove_subscriber(*id);
            }
        });
        if let Err(error) = removed {
            log::debug!("the event loop ended before a device that it served: {error}");
        }
    }
}

struct Kicked {
    kicks: Vec<EventFd>,
    service: Slot,
}

impl MutEventSubscriber for Kicked {
    fn init(&mut self, ops: &mut EventOps) {
        for (index, kick) in self.kicks.iter().enumerate() {
            if let Err(error) = ops.add(Events::with_data(kick, index as u32, EventSet::IN)) {
                log::error!("watching the doorbell of queue {index}: {error}");
            }
        }
    }

    fn process(&mut self, events: Events, _ops: &mut EventOps) {
        let index = events.data() as usize;
        let Some(kick) = self.kicks.get(index) else {
            return;
        };
        let mut service = self.service.lock().unwrap_or_else(PoisonError::into_inner);
        // A service that is gone leaves the kick alone: the next one may share the event.
        let Some(service) = service.as_mut() else {
            return;
        };
        // Cleared before the queue is looked at, so that a kick meanwhile comes again. A failure
        // means that there was nothing to clear.
        let _ = kick.read();
        if service.serve(index) == Served::Some {
            // Cannot fail: the counter was cleared just now.
            let _ = kick.write(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use vmm_sys_util::eventfd::EFD_NONBLOCK;

    use super::*;
    use crate::virtio::testing::MockLoop;

    /// Notes the indices it is called with; has more to do as long as the note is shorter than
    /// `until`.
    struct Noting {
        served: Arc<Mutex<Vec<usize>>>,
        until: usize,
    }

    impl QueueService for Noting {
        fn serve(&mut self, index: usize) -> Served {
            let mut served = self.served.lock().unwrap();
            served.push(index);
            if served.len() < self.until {
                Served::Some
            } else {
                Served::All
            }
        }
    }

    struct Fixture {
        event_loop: MockLoop,
        served: Arc<Mutex<Vec<usize>>>,
        kicks: [EventFd; 2],
    }

    impl Fixture {
        fn new() -> Self {
            Self {
                event_loop: MockLoop::default(),
                served: Arc::default(),
                kicks: [(); 2].map(|()| EventFd::new(EFD_NONBLOCK).unwrap()),
            }
        }

        fn attach(&self, until: usize) -> Attachment {
            let kicks = self.kicks.iter().map(|kick| kick.try_clone().unwrap());
            let service = Noting {
                served: self.served.clone(),
                until,
            };
            let handle = self.event_loop.handle();
            handle.attach(kicks.collect(), service).unwrap()
        }

        fn served(&mut self) -> Vec<usize> {
            self.event_loop.run();
            std::mem::take(&mut self.served.lock().unwrap())
        }
    }

    #[test]
    fn kicks_reach_their_queue() {
        let mut f = Fixture::new();
        let _attachment = f.attach(0);
        assert!(f.served().is_empty());

        f.kicks[1].write(1).unwrap();
        assert_eq!(f.served(), [1]);
        f.kicks[0].write(3).unwrap();
        assert_eq!(f.served(), [0], "several kicks at once are one");
        assert!(f.served().is_empty());
    }

    #[test]
    fn unfinished_queues_are_served_again() {
        let mut f = Fixture::new();
        let _attachment = f.attach(3);
        f.kicks[0].write(1).unwrap();

        assert_eq!(f.served(), [0, 0, 0]);
    }

    #[test]
    fn a_dropped_attachment_is_served_no_more() {
        let mut f = Fixture::new();
        let attachment = f.attach(0);
        f.served();
        f.kicks[0].write(1).unwrap();

        drop(attachment);

        assert!(f.served().is_empty());
        assert_eq!(Arc::strong_count(&f.served), 1, "the service is gone");
    }

    #[test]
    fn attachments_come_and_go_whether_or_not_the_loop_turns() {
        let mut f = Fixture::new();
        for round in 0..100 {
            let attachment = f.attach(0);
            if round % 3 > 0 {
                f.kicks[1].write(1).unwrap();
                assert_eq!(f.served(), [1]);
            }
            drop(attachment);
            if round % 2 > 0 {
                assert!(f.served().is_empty());
            }
        }
    }

    #[test]
    fn a_loop_that_has_ended_takes_nobody() {
        let handle = MockLoop::default().handle();

        let attached = handle.attach(
            Vec::new(),
            Noting {
                served: Arc::default(),
                until: 0,
            },
        );

        assert!(matches!(attached, Err(Error::Gone(_))));
    }
}

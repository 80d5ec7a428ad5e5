//! What happens round a running machine: console input, signals, its supervisor's requests, the
//! time it is given to power off.

use std::collections::HashMap;
use std::io;
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use event_manager::{EventOps, EventSet, Events, MutEventSubscriber};
use vmm_sys_util::eventfd::{EFD_NONBLOCK, EventFd};
use vmm_sys_util::timerfd::TimerFd;
use weir_devices::accel::{AccelHandle, AccelStats};

use crate::console::input::{Input, Progress};
use crate::devices;
use crate::end::{End, Ending};
use crate::legacy::power::Power;
use crate::legacy::serial::SerialPort;
use crate::machine::Machine;
use crate::signals::EndSignals;
use crate::spec::AcceleratorSpec;
use crate::supervisor::link::Link;
use crate::supervisor::protocol::{FromVm, ToVm};

/// How long after pressing the power button it is pressed again.
const PRESS_AGAIN: Duration = Duration::from_secs(3);

/// Which of the session's descriptors an event is about.
#[derive(Clone, Copy)]
#[repr(u32)]
enum Source {
    End,
    Signal,
    Input,
    Drained,
    Grace,
    Supervisor,
}

impl Source {
    const ALL: [Self; 6] = [
        Self::End,
        Self::Signal,
        Self::Input,
        Self::Drained,
        Self::Grace,
        Self::Supervisor,
    ];
}

/// The surroundings of a machine, kept over its restarts.
pub struct Session {
    end: Arc<End>,
    signals: EndSignals,
    input: Input,
    drained: EventFd,
    supervisor: Option<Link>,
    grace: Duration,
    timer: TimerFd,
    /// When the guest's time to power off is over, once it has been told to.
    stop_at: Option<Instant>,
    machine: Option<Attached>,
    /// Figures of machines before the last restart.
    earlier: HashMap<String, AccelStats>,
    /// Grants that have been changed since the start.
    changed: HashMap<String, AcceleratorSpec>,
}

/// What the session uses of the machine that now runs.
struct Attached {
    serial: Arc<SerialPort>,
    power: Arc<Power>,
    accelerators: Vec<AccelHandle>,
}

impl Session {
    /// A session without a machine. One that is told to stop gets `grace` to power off.
    pub fn new(
        end: Arc<End>,
        signals: EndSignals,
        input: Input,
        supervisor: Option<Link>,
        grace: Duration,
    ) -> io::Result<Self> {
        Ok(Self {
            end,
            signals,
            input,
            drained: EventFd::new(EFD_NONBLOCK)?,
            supervisor,
            grace,
            timer: TimerFd::new()?,
            stop_at: None,
            machine: None,
            earlier: HashMap::new(),
            changed: HashMap::new(),
        })
    }

    /// The event that a machine's serial port signals when it has room for input.
    pub fn drained(&self) -> io::Result<EventFd> {
        self.drained.try_clone()
    }

    /// `machine` now runs.
    pub fn attach(&mut self, machine: &Machine) {
        self.machine = Some(Attached {
            serial: machine.serial().clone(),
            power: machine.power().clone(),
            accelerators: machine.accelerators().to_vec(),
        });
        self.changed.values().for_each(|grant| self.apply(grant));
        self.tell(&FromVm::Running);
    }

    /// The machine has stopped; its figures are added to those of earlier ones.
    pub fn detach(&mut self) {
        let figures = self.accelerators();
        self.machine = None;
        self.earlier = figures.into_iter().map(|a| (a.name.clone(), a)).collect();
        for figures in self.earlier.values_mut() {
            (figures.memory, figures.clients) = (0, Vec::new());
        }
    }

    /// Whether the machine has been told to power off.
    pub fn stopping(&self) -> bool {
        self.stop_at.is_some()
    }

    /// Whether the kernel has printed that it panics.
    pub fn saw_panic(&self) -> bool {
        self.machine
            .as_ref()
            .is_some_and(|machine| machine.serial.saw_panic())
    }

    /// Sends `message` to the supervisor, if there is one.
    pub fn tell(&mut self, message: &FromVm) {
        if let Some(link) = &mut self.supervisor
            && let Err(error) = link.send(message)
        {
            log::debug!("telling the supervisor: {error}");
        }
    }

    /// Puts `grant` into effect, if the machine runs.
    fn apply(&self, grant: &AcceleratorSpec) {
        let handles = self.machine.iter().flat_map(|m| &m.accelerators);
        handles
            .filter(|handle| handle.name() == grant.name)
            .for_each(|handle| devices::change(handle, grant));
    }

    /// Figures of every accelerator, over all restarts.
    pub fn accelerators(&self) -> Vec<AccelStats> {
        let Some(machine) = &self.machine else {
            let mut figures: Vec<_> = self.earlier.values().cloned().collect();
            figures.sort_by(|a, b| a.name.cmp(&b.name));
            return figures;
        };
        let add = |mut now: AccelStats| {
            if let Some(before) = self.earlier.get(&now.name) {
                now.add(before);
            }
            now
        };
        machine
            .accelerators
            .iter()
            .map(|handle| add(handle.stats()))
            .collect()
    }

    /// Asks the guest to power off; a second time, or after the grace period, ends it.
    fn stop(&mut self) {
        if self.stopping() || self.machine.is_none() {
            return self.end.set(Ending::Forced);
        }
        self.stop_at = Some(Instant::now() + self.grace);
        self.urge();
    }

    /// Presses the power button, and again every few seconds: a guest that still boots does not
    /// hear it yet.
    fn urge(&mut self) {
        let (Some(machine), Some(stop_at)) = (&self.machine, self.stop_at) else {
            return;
        };
        let left = stop_at.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return self.end.set(Ending::Forced);
        }
        machine.power.press_button();
        if let Err(error) = self.timer.reset(left.min(PRESS_AGAIN), None) {
            log::error!("timing the guest's power-off: {error}");
            self.end.set(Ending::Forced);
        }
    }

    fn read_input(&mut self, ops: &mut EventOps) {
        let progress = self.input.read();
        if progress == Progress::EndMachine {
            return self.end.set(Ending::EndedByUser);
        }
        if let (Progress::Closed, Some(fd)) = (progress, self.input.fd())
            && let Err(error) = ops.remove(Events::empty(&fd))
        {
            log::debug!("leaving the console's input: {error}");
        }
        self.feed(ops);
    }

    /// Passes input on. While the guest does not take it, no more is read.
    fn feed(&mut self, ops: &mut EventOps) {
        let Some(machine) = &self.machine else { return };
        let interest = match self.input.feed(&machine.serial) {
            true => EventSet::IN,
            false => EventSet::empty(),
        };
        if let Some(fd) = self.input.open_fd() {
            let events = Events::with_data_raw(fd, Source::Input as u32, interest);
            if let Err(error) = ops.modify(events) {
                log::debug!("watching the console's input: {error}");
            }
        }
    }

    fn answer_supervisor(&mut self, ops: &mut EventOps) {
        let Some(link) = &mut self.supervisor else {
            return;
        };
        let requests = link.receive::<ToVm>();
        let closed = link.closed();
        if closed {
            let _ = ops.remove(Events::empty(link));
        }
        for request in requests {
            match request {
                ToVm::Status => {
                    let accelerators = self.accelerators();
                    self.tell(&FromVm::Status { accelerators });
                }
                ToVm::Set { grant } => {
                    self.apply(&grant);
                    // A guest that restarts gets new devices.
                    self.changed.insert(grant.name.clone(), grant);
                    self.tell(&FromVm::Set);
                }
                ToVm::Stop { now: true, .. } => self.end.set(Ending::Forced),
                ToVm::Stop { grace_ms, .. } => {
                    self.grace = grace_ms.map_or(self.grace, Duration::from_millis);
                    self.stop();
                }
                ToVm::Input { bytes } => {
                    self.input.push(&bytes);
                    self.feed(ops);
                }
            }
        }
        if closed {
            // Without its supervisor a machine has nobody who watches over it.
            log::warn!("the supervisor is gone; powering off");
            self.supervisor = None;
            if !self.stopping() {
                self.stop();
            }
        }
    }
}

impl MutEventSubscriber for Session {
    fn init(&mut self, ops: &mut EventOps) {
        let mut watch = |source: Source, fd| {
            let events = Events::with_data_raw(fd, source as u32, EventSet::IN);
            ops.add(events)
        };
        let fixed = [
            (Source::End, self.end.event().as_raw_fd()),
            (Source::Signal, self.signals.as_raw_fd()),
            (Source::Drained, self.drained.as_raw_fd()),
            (Source::Grace, self.timer.as_raw_fd()),
        ];
        let supervisor = self
            .supervisor
            .iter()
            .map(|l| (Source::Supervisor, l.as_raw_fd()));
        for (source, fd) in fixed.into_iter().chain(supervisor) {
            if let Err(error) = watch(source, fd) {
                let message = format!("watching the machine's events: {error}");
                self.end.set(Ending::Failed(message));
            }
        }
        // Files cannot be watched; a guest gets no input from one.
        if let Some(fd) = self.input.open_fd()
            && let Err(error) = watch(Source::Input, fd)
        {
            log::debug!("the console has no input: {error}");
            self.input = Input::none();
        }
    }

    fn process(&mut self, events: Events, ops: &mut EventOps) {
        match Source::ALL.get(events.data() as usize) {
            Some(Source::Signal) => {
                while self.signals.take() {
                    self.stop();
                }
            }
            Some(Source::Input) => self.read_input(ops),
            Some(Source::Drained) => {
                let _ = self.drained.read();
                self.feed(ops);
            }
            Some(Source::Grace) => {
                let _ = self.timer.wait();
                self.urge();
            }
            Some(Source::Supervisor) => self.answer_supervisor(ops),
            // Whoever runs the loop asks after each round whether the machine has ended.
            Some(Source::End) | None => {}
        }
    }
}

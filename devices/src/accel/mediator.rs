//! The mediator's thread: all clients of one accelerator, their workers, and the way to the tenant.
//!
//! The thread looks at the transport and at each client in turn, as long as there is something to
//! do and a little longer; then it asks everybody to wake it, looks once more, and sleeps.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use weir_wire::arena::Lost;

use super::admit::Admission;
use super::arbiter;
use super::bell::Bell;
use super::client::{Announced, Client, Desk, Wake};
use super::config::{AccelConfig, Sharing};
use super::events::Kind;
use super::gates::Gatekeeper;
use super::meter::{ClientState, Tenant};
use super::poller::{Poller, Token, Trigger};
use super::worker::{Crew, Hello, Hired, Launch};

/// Rounds between looks at the epoll set, while there is something to do and the transport is
/// watched in memory.
const ROUNDS_PER_WAIT: u32 = 16;
/// How soon a sleeping mediator looks at reports that nobody waits for.
const REPORT_DELAY: Duration = Duration::from_millis(10);

/// The way to one tenant: how its clients come, announce batches and go.
pub(super) trait Transport: Send {
    /// Whether all that comes is seen in memory, rather than as an event of the epoll set.
    const IN_MEMORY: bool;

    /// Puts the transport's descriptors into the epoll set.
    fn start(&mut self, core: &mut Core) -> io::Result<()>;

    /// Takes in what has come, up to a limit. Returns whether there was anything.
    fn look(&mut self, core: &mut Core) -> bool;

    /// The descriptor that the transport registered with this number is ready.
    fn ready(&mut self, core: &mut Core, number: u32);

    /// The thread is about to sleep and must be woken from now on. Returns whether something has
    /// come meanwhile.
    fn before_sleep(&mut self, core: &mut Core) -> bool;

    /// The thread looks by itself again.
    fn after_sleep(&mut self, core: &mut Core);
}

/// Why there is no new client.
#[derive(Debug, thiserror::Error)]
pub(super) enum CreateError {
    #[error("there are as many clients as may be")]
    TooMany,
    #[error("making the client's arena and channel")]
    Io(#[from] io::Error),
}

/// Everything but the transport.
pub(super) struct Core {
    pub(super) config: Arc<AccelConfig>,
    pub(super) poller: Poller,
    desk: Desk,
    crew: Crew,
    clients: BTreeMap<u32, Client>,
    last_id: u32,
}

impl Core {
    fn new(
        config: Arc<AccelConfig>,
        tenant: Arc<Tenant>,
        launch: Box<dyn Launch>,
        admission: Box<dyn Admission>,
    ) -> io::Result<Self> {
        let poller = Poller::new()?;
        let gates = match &config.sharing {
            Sharing::Alone => Gatekeeper::alone(&config.name, config.limits.terms())?,
            Sharing::With(end) => Gatekeeper::at(end.clone()),
            Sharing::Unruled => Gatekeeper::open(),
        };
        if let Some(event) = gates.event() {
            poller.add(event, Token::Grants, Trigger::Edge)?;
        }
        let crew = Crew::new(&poller, launch, config.spare_workers)?;
        let main = config.check().map_err(io::Error::other)?;
        Ok(Self {
            desk: Desk::new(vec![main], tenant, admission, gates),
            config,
            poller,
            crew,
            clients: BTreeMap::new(),
            last_id: 0,
        })
    }

    pub(super) fn tenant(&self) -> &Tenant {
        &self.desk.tenant
    }

    /// A new client with an arena of `arena_size` bytes; returns its number.
    pub(super) fn create(
        &mut self,
        arena_size: u64,
        pid: u32,
        comm: &[u8],
        wake: Wake,
    ) -> Result<u32, CreateError> {
        // Workers that take their time to end count too: else coming and going would pile them up.
        let most = self.config.max_clients as usize;
        if self.clients.len() >= most || self.crew.ending() >= most {
            return Err(CreateError::TooMany);
        }
        let id = self.free_id();
        let wake_by = match wake {
            Wake::Event(_) => "event",
            Wake::Futex => "futex",
        };
        let meter = self.desk.tenant.enter(id, pid, printable(comm));
        let made = Client::new(id, arena_size, wake, meter.clone()).and_then(|(client, files)| {
            let token = Token::Completions(id);
            self.poller.add(client.vmm_event(), token, Trigger::Edge)?;
            Ok((client, files))
        });
        let (mut client, files) = made.inspect_err(|_| self.desk.tenant.leave(&meter))?;
        let text = serde_json::json!({
            "arena_size": arena_size,
            "wake": wake_by,
            "accelerators": [{
                "api": self.config.api,
                "platform": self.config.platform,
                "device": self.config.device,
                "memory": self.desk.tenant.quota.limit(),
            }],
        });
        let text = text.to_string();
        if let Some(hired) = self.crew.hire(id, Hello { text, files }) {
            client.attach(hired);
        }
        log::debug!("client {id} begins, for process {pid}");
        self.clients.insert(id, client);
        self.last_id = id;
        Ok(id)
    }

    /// The number longest out of use: numbers go round, so that a late message of one client does
    /// not reach another.
    fn free_id(&self) -> u32 {
        let mut id = self.last_id.wrapping_add(1);
        while id == 0 || self.clients.contains_key(&id) {
            id = id.wrapping_add(1);
        }
        id
    }

    /// The arena of client `id`: its file and size.
    pub(super) fn arena(&self, id: u32) -> Option<(BorrowedFd<'_>, u64)> {
        self.clients.get(&id).map(Client::arena)
    }

    /// Notes that client `id` has announced a batch.
    pub(super) fn announce(&mut self, id: u32, announced: Announced) {
        match self.clients.get_mut(&id) {
            None => self.desk.tenant.strays.add(1),
            Some(client) => {
                if let Err(reason) = client.announce(announced) {
                    self.lose(id, reason);
                }
            }
        }
    }

    /// Ends client `id`. Returns whether there was one.
    pub(super) fn destroy(&mut self, id: u32) -> bool {
        if !self.clients.contains_key(&id) {
            return false;
        }
        self.lose(id, Lost::Ended);
        if let Some(client) = self.clients.remove(&id) {
            self.poller.remove(client.vmm_event());
            self.desk.tenant.leave(&client.meter);
        }
        log::debug!("client {id} is over");
        true
    }

    /// Ends all clients but for their shells.
    pub(super) fn lose_all(&mut self) {
        let ids: Vec<u32> = self.clients.keys().copied().collect();
        for id in ids {
            self.lose(id, Lost::Ended);
        }
    }

    /// Ends client `id` but for its shell, and its worker.
    fn lose(&mut self, id: u32, reason: Lost) {
        let Some(client) = self.clients.get_mut(&id) else {
            return;
        };
        if !client.is_lost() && reason != Lost::Ended {
            client
                .meter
                .note(Kind::Lost, format_args!("reason={reason:?}"));
        }
        let bytes = client.lose(&mut self.desk, reason);
        let quota = &self.desk.tenant.quota;
        match client.worker.take() {
            Some(worker) => self.crew.dismiss(quota, worker, bytes),
            None => {
                self.crew.abandon(id);
                quota.give(bytes);
            }
        }
    }

    /// Gives each client its turn. Returns whether any did something.
    fn turn(&mut self) -> bool {
        self.desk.refresh();
        let mut worked = false;
        let mut over = self.overdue();
        for (id, client) in &mut self.clients {
            match client.turn(&mut self.desk) {
                Ok(turn) => worked |= turn.worked,
                Err(reason) => over.push((*id, reason)),
            }
        }
        for (id, reason) in over {
            worked = true;
            self.lose(id, reason);
        }
        worked | self.open_gates()
    }

    /// Clients whose command is on the device for too long.
    fn overdue(&self) -> Vec<(u32, Lost)> {
        let Some(timeout) = self.desk.limits.timeout else {
            return Vec::new();
        };
        let now = arbiter::now();
        let overdue = self.clients.iter().filter(|(_, client)| {
            let since = client.stuck_since();
            since.is_some_and(|since| u128::from(now.saturating_sub(since)) > timeout.as_nanos())
        });
        let overdue: Vec<_> = overdue.map(|(id, _)| (*id, Lost::Timeout)).collect();
        for (id, _) in &overdue {
            if let Some(client) = self.clients.get(id) {
                let limit = format_args!("timeout_ms={}", timeout.as_millis());
                client.meter.note(Kind::TimedOut, limit);
            }
            self.desk.tenant.timeouts.add(1);
        }
        overdue
    }

    /// Opens the gates of what may begin on the device. Returns whether there was any.
    fn open_gates(&mut self) -> bool {
        let gates = &mut self.desk.gates;
        let now = arbiter::now();
        let mut opened = false;
        let mut over = Vec::new();
        let next = loop {
            // Each of the tenant's clients gets the same.
            let eligible = self.clients.iter().filter_map(|(number, client)| {
                let (id, expected) = client.eligible()?;
                Some((client.virtual_time(), *number, id, expected))
            });
            let Some((virtual_time, number, id, expected)) = eligible.min() else {
                break None;
            };
            if !gates.try_begin(expected, now) {
                break Some(expected);
            }
            gates.virtual_time = gates.virtual_time.max(virtual_time);
            if let Some(client) = self.clients.get_mut(&number) {
                client.open_gate(id, now);
            }
            opened = true;
        };
        for (number, client) in &mut self.clients {
            if let Err(reason) = client.send_gates() {
                over.push((*number, reason));
            }
        }
        gates.settle(next);
        for (number, reason) in over {
            self.lose(number, reason);
        }
        opened
    }

    /// From now on the workers wake the mediator, where it cannot wait. Returns whether there is
    /// something to do before sleep.
    fn before_sleep(&mut self) -> bool {
        for client in self.clients.values_mut() {
            client.before_sleep(&self.desk);
        }
        self.turn()
    }

    fn after_sleep(&mut self) {
        for client in self.clients.values_mut() {
            client.after_sleep();
        }
    }

    /// How long the mediator may sleep.
    fn patience(&self) -> Option<Duration> {
        let open = self.clients.values().any(Client::is_open);
        let delay = open.then_some(REPORT_DELAY);
        let wake = self
            .desk
            .gates
            .wake_at()
            .map(|at| Duration::from_nanos(at.saturating_sub(arbiter::now())));
        let held = self
            .desk
            .admission
            .again_at()
            .map(|at| Duration::from_nanos(at.saturating_sub(arbiter::now())));
        [delay, wake, held].into_iter().flatten().min()
    }

    fn ready(&mut self, token: Token) {
        match token {
            Token::Arrivals => {
                for outcome in self.crew.take_arrivals(&self.poller) {
                    match outcome {
                        Ok(hired) => self.attach(hired),
                        Err(client) => self.lose(client, Lost::Worker),
                    }
                }
            }
            Token::Exit(worker) => {
                let quota = &self.desk.tenant.quota;
                if let Some(id) = self.crew.exited(&self.poller, quota, worker) {
                    // There is nobody to be killed any more: its memory is free at once.
                    if let Some(client) = self.clients.get_mut(&id) {
                        client.worker = None;
                    }
                    self.lose(id, Lost::Worker);
                }
            }
            Token::Talk(worker) => {
                let ready = self.crew.hear(worker);
                if let Some(client) = ready.and_then(|id| self.clients.get(&id)) {
                    client.meter.set_state(ClientState::Running);
                }
            }
            // Every turn looks at all reports.
            Token::Completions(_) | Token::Grants | Token::Quit | Token::Transport(_) => {}
        }
    }

    fn attach(&mut self, hired: Hired) {
        if let Some(client) = self.clients.get_mut(&hired.client) {
            client.attach(hired);
        }
    }
}

impl Drop for Core {
    fn drop(&mut self) {
        let ids: Vec<u32> = self.clients.keys().copied().collect();
        for id in ids {
            self.destroy(id);
        }
        self.crew.disband(&self.desk.tenant.quota);
    }
}

/// What the guest calls its process, fit for people.
fn printable(comm: &[u8]) -> String {
    let end = comm.iter().position(|b| *b == 0).unwrap_or(comm.len());
    String::from_utf8_lossy(&comm[..end])
        .chars()
        .map(|c| if c.is_control() { '?' } else { c })
        .collect()
}

/// A running mediator. Dropping it ends all clients and waits for its thread.
pub(super) struct Mediator {
    quit: Bell,
    thread: Option<JoinHandle<()>>,
}

impl Mediator {
    /// Starts a mediator for `tenant`, reached through `transport`.
    pub(super) fn start<T: Transport + 'static>(
        config: Arc<AccelConfig>,
        tenant: Arc<Tenant>,
        launch: Box<dyn Launch>,
        admission: Box<dyn Admission>,
        mut transport: T,
    ) -> io::Result<Self> {
        let quit = Bell::new()?;
        let name = format!("weir-{}", config.name);
        let mut core = Core::new(config, tenant, launch, admission)?;
        core.poller.add(&quit, Token::Quit, Trigger::Level)?;
        transport.start(&mut core)?;
        let thread = std::thread::Builder::new().name(name).spawn(move || {
            run(&mut core, &mut transport);
            // The clients go first, then what they lay in.
            drop(core);
            drop(transport);
        })?;
        Ok(Self {
            quit,
            thread: Some(thread),
        })
    }
}

impl Drop for Mediator {
    fn drop(&mut self) {
        self.quit.ring();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            log::error!("the mediator's thread panicked");
        }
    }
}

fn run<T: Transport>(core: &mut Core, transport: &mut T) {
    let mut tokens = Vec::new();
    let mut patience = Patience::new(core.config.polling.longest);
    let mut last_work = Instant::now();
    let mut round = 0u32;
    loop {
        let mut worked = transport.look(core);
        worked |= core.turn();
        round = round.wrapping_add(1);
        if !T::IN_MEMORY || round.is_multiple_of(ROUNDS_PER_WAIT) {
            core.poller.wait(Some(Duration::ZERO), &mut tokens);
            worked |= !tokens.is_empty();
            if !dispatch(core, transport, &tokens) {
                return;
            }
        }
        if worked {
            last_work = Instant::now();
            continue;
        }
        if last_work.elapsed() < patience.now {
            // Whoever is to give us work may need this processor for it.
            std::thread::yield_now();
            continue;
        }
        let more = transport.before_sleep(core) | core.before_sleep();
        if !more {
            let asleep = Instant::now();
            core.tenant().sleeps.add(1);
            core.poller.wait(core.patience(), &mut tokens);
            patience.slept(asleep.elapsed());
            if !dispatch(core, transport, &tokens) {
                return;
            }
        }
        transport.after_sleep(core);
        core.after_sleep();
        last_work = Instant::now();
    }
}

/// Goes through what has happened. Returns whether to go on.
fn dispatch<T: Transport>(core: &mut Core, transport: &mut T, tokens: &[Token]) -> bool {
    for token in tokens {
        match *token {
            Token::Quit => return false,
            Token::Transport(number) => transport.ready(core, number),
            token => core.ready(token),
        }
    }
    true
}

/// How long it is worth to go on looking: longer after each sleep that looking would have saved,
/// shorter after each other.
struct Patience {
    now: Duration,
    longest: Duration,
}

impl Patience {
    const SHORTEST: Duration = Duration::from_micros(4);

    fn new(longest: Duration) -> Self {
        Self {
            now: longest,
            longest,
        }
    }

    fn slept(&mut self, time: Duration) {
        self.now = if time < self.longest {
            (self.now * 2).clamp(Self::SHORTEST, self.longest.max(Self::SHORTEST))
        } else {
            self.now / 2
        };
        if self.now < Self::SHORTEST || self.longest.is_zero() {
            self.now = Duration::ZERO;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patience_follows_what_it_is_good_for() {
        let us = Duration::from_micros;
        let mut patience = Patience::new(us(40));
        patience.slept(us(1000));
        assert_eq!(patience.now, us(20));
        for _ in 0..10 {
            patience.slept(us(1000));
        }
        assert_eq!(patience.now, Duration::ZERO);
        patience.slept(us(10));
        assert_eq!(patience.now, us(4));
        for _ in 0..10 {
            patience.slept(us(10));
        }
        assert_eq!(patience.now, us(40));
        let mut never = Patience::new(Duration::ZERO);
        never.slept(us(0));
        assert_eq!(never.now, Duration::ZERO);
    }

    #[test]
    fn names_of_processes_are_fit_for_people() {
        assert_eq!(printable(b"clinfo\0junk"), "clinfo");
        assert_eq!(printable(b"\x1b[2J\n"), "?[2J?");
        assert_eq!(printable(&[0xff; 16]).chars().count(), 16);
    }
}

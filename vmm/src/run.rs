//! Running one machine from its first start to its end.

use std::io::{self, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use event_manager::{EventManager, SubscriberOps};
use thiserror::Error;
use weir_devices::virtio::event_loop::{EventLoop, Subscriber};

use crate::console::input::Input;
use crate::console::terminal::RawTerminal;
use crate::end::{End, Ending};
use crate::machine::{Console, Machine, StartError};
use crate::opened::Opened;
use crate::sandbox::{self, Level, SandboxError};
use crate::session::Session;
use crate::signals::EndSignals;
use crate::spec::VmSpec;
use crate::supervisor::link::Link;
use crate::supervisor::protocol::FromVm;

/// How to run a machine.
#[derive(Debug)]
pub struct Options {
    /// How long a guest gets to power off when it is told to.
    pub grace: Duration,
    /// Whether a guest's reset ends the machine.
    pub no_reboot: bool,
    /// How the machine's process is shut in.
    pub sandbox: Level,
}

/// Why running a machine failed from outside.
#[derive(Debug, Error)]
pub enum RunError {
    /// It did not start.
    #[error(transparent)]
    Start(#[from] StartError),
    /// Its surroundings could not be set up.
    #[error("setting up the console and the machine's events")]
    Setup(#[from] io::Error),
    /// Its process could not be shut in.
    #[error(transparent)]
    Sandbox(#[from] SandboxError),
    /// The event loop failed.
    #[error("waiting for events")]
    Events(#[from] event_manager::Error),
}

/// Runs the machine that `spec` describes with its console on standard input and output, or, with
/// a `supervisor`, without input.
pub fn run(spec: &VmSpec, options: &Options, supervisor: Option<Link>) -> Result<Ending, RunError> {
    let opened = Opened::open(spec)?;
    let signals = EndSignals::collect()?;
    let supervised = supervisor.is_some();
    let terminal = match supervised {
        true => None,
        false => RawTerminal::enter(io::stdin())?,
    };
    let input = match supervised {
        true => Input::none(),
        false => Input::new(io::stdin(), terminal.is_some())?,
    };
    let end = Arc::new(End::new()?);
    sandbox::enter(&end, options.sandbox)?;
    let session = Session::new(end.clone(), signals, input, supervisor, options.grace)?;
    let session = Arc::new(Mutex::new(session));
    let mut events: EventManager<Subscriber> = EventManager::new()?;
    events.add_subscriber(session.clone());

    let ending = loop {
        let ending = run_once(spec, &opened, &mut events, &session, &end)?;
        let restart = ending == Ending::Reset && !options.no_reboot && !lock(&session).stopping();
        if !restart {
            break ending;
        }
        log::info!("{}: {}", spec.name, ending.sentence());
        lock(&session).tell(&FromVm::Restarting);
    };
    let mut session = lock(&session);
    let ended = FromVm::Ended {
        message: ending.sentence(),
        accelerators: session.accelerators(),
    };
    session.tell(&ended);
    Ok(ending)
}

/// Runs the machine until the guest ends it, restarts it, or somebody ends it.
fn run_once(
    spec: &VmSpec,
    opened: &Opened,
    events: &mut EventManager<Subscriber>,
    session: &Mutex<Session>,
    end: &Arc<End>,
) -> Result<Ending, RunError> {
    end.clear();
    let console = Console {
        output: Box::new(Unbuffered),
        drained: lock(session).drained()?,
    };
    let machine = Machine::start(spec, opened, &EventLoop::new(events), console, end)?;
    lock(session).attach(&machine);
    let ending = loop {
        match sandbox::violation().or_else(|| end.get()) {
            Some(ending) => break ending,
            None => events.run()?,
        };
    };
    drop(machine);
    let panicked = lock(session).saw_panic();
    lock(session).detach();
    // A kernel that panics and then resets, or fails to, has panicked.
    Ok(match ending {
        Ending::Reset | Ending::TripleFault if panicked => Ending::Panicked,
        ending => ending,
    })
}

fn lock(session: &Mutex<Session>) -> MutexGuard<'_, Session> {
    session.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Standard output without the line buffer that Rust puts before it: a prompt has no line end.
struct Unbuffered;

impl Write for Unbuffered {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(rustix::io::write(rustix::stdio::stdout(), bytes)?)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

//! The virtio device through which a VM reaches its mediator: `docs/device.md` in code.
//!
//! Its queues are served by the mediator's thread itself, which polls them while there is work.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;

use virtio_queue::{Queue, QueueOwnedT, QueueT};
use vm_memory::GuestMemoryMmap;

use super::admit::Rates;
use super::bell::Bell;
use super::client::{Announced, Wake};
use super::config::{AccelConfig, ConfigError};
use super::mediator::{Core, CreateError, Mediator, Transport};
use super::meter::{AccelHandle, Tenant};
use super::poller::{Token, Trigger};
use super::protocol::{
    Create, Created, MAX_REQUEST, Request, SUBMIT_SIZE, Status, Submit, VERSION,
};
use super::spawner::Spawner;
use super::window::Places;
use super::worker::{Launch, Program};
use crate::pci::Window;
use crate::virtio::queue::{self, Buffers};
use crate::virtio::{
    ActivateError, Activation, Memory, SharedMemory, VirtioDevice, VirtioInterrupt, copy_config,
};

/// The standard assigns no id; this is the last one that PCI's numbering has room for.
const DEVICE_TYPE: u32 = 63;
/// Number of the shared-memory region that holds the arenas.
const WINDOW: u8 = 0;

/// The control queue is 0.
const SUBMIT: u16 = 1;
const QUEUE_SIZES: [u16; 2] = [64, 1024];
/// Buffers taken from each queue before it is the clients' turn.
const CONTROLS_PER_TURN: usize = 4;
const SUBMITS_PER_TURN: usize = 256;

/// The accelerator device of one VM.
pub struct Accel {
    config: Arc<AccelConfig>,
    tenant: Arc<Tenant>,
    window: Arc<dyn Window>,
    space: [u8; 96],
    launch: Box<dyn Fn() -> Box<dyn Launch> + Send>,
    mediator: Option<Mediator>,
}

impl Accel {
    /// A device for the accelerator that `config` describes, whose arenas appear in `window`; and
    /// the view of what its VM uses.
    ///
    /// # Errors
    /// The configuration is wrong in itself, or does not go with the window.
    pub fn new(
        config: AccelConfig,
        window: Arc<dyn Window>,
    ) -> Result<(Self, AccelHandle), ConfigError> {
        let (program, spawner) = (Program::of(&config), config.spawner.clone());
        let launch = move || -> Box<dyn Launch> {
            match &spawner {
                Some(spawner) => Box::new(spawner.clone()),
                None => Spawner::launcher(&program),
            }
        };
        Self::with_workers(config, window, Box::new(launch))
    }

    pub(super) fn with_workers(
        config: AccelConfig,
        window: Arc<dyn Window>,
        launch: Box<dyn Fn() -> Box<dyn Launch> + Send>,
    ) -> Result<(Self, AccelHandle), ConfigError> {
        config.check()?;
        if config.arena_max > window.size() {
            return Err(ConfigError::Window {
                max: config.arena_max,
                window: window.size(),
            });
        }
        let tenant = Tenant::new(&config);
        let handle = AccelHandle {
            tenant: tenant.clone(),
        };
        let accel = Self {
            space: config_space(&config, window.size()),
            config: Arc::new(config),
            tenant,
            window,
            launch,
            mediator: None,
        };
        Ok((accel, handle))
    }
}

fn config_space(config: &AccelConfig, window_size: u64) -> [u8; 96] {
    let mut space = [0; 96];
    space[0..4].copy_from_slice(&VERSION.to_le_bytes());
    space[4..8].copy_from_slice(&config.max_clients.to_le_bytes());
    space[8..16].copy_from_slice(&window_size.to_le_bytes());
    space[16..24].copy_from_slice(&config.arena_max.to_le_bytes());
    space[24..32].copy_from_slice(&config.arena_default.to_le_bytes());
    // Both names have been found to be shorter than their fields.
    space[32..][..config.name.len()].copy_from_slice(config.name.as_bytes());
    space[64..][..config.api.len()].copy_from_slice(config.api.as_bytes());
    space
}

impl VirtioDevice for Accel {
    fn device_type(&self) -> u32 {
        DEVICE_TYPE
    }

    fn name(&self) -> &str {
        "accelerator"
    }

    fn features(&self) -> u64 {
        0
    }

    fn queue_max_sizes(&self) -> &[u16] {
        &QUEUE_SIZES
    }

    fn read_config(&self, offset: u64, data: &mut [u8]) {
        copy_config(&self.space, offset, data);
    }

    fn write_config(&mut self, _offset: u64, _data: &[u8]) {}

    fn shared_memory(&self) -> Option<SharedMemory> {
        Some(SharedMemory {
            shmid: WINDOW,
            window: self.window.clone(),
        })
    }

    fn activate(&mut self, activation: Activation) -> Result<(), ActivateError> {
        let mut lines = Vec::new();
        for (index, (queue, kick)) in activation.queues.into_iter().enumerate() {
            if !queue.ready() {
                return Err(ActivateError::QueueMissing(index as u16));
            }
            lines.push(Line {
                index: index as u16,
                queue,
                kick: kick.into(),
            });
        }
        let [control, submit]: [Line; 2] = lines
            .try_into()
            .map_err(|_| ActivateError::QueueMissing(SUBMIT))?;
        let guest = Guest {
            control,
            submit,
            memory: activation.memory,
            interrupt: activation.interrupt,
            arenas: Arenas {
                places: Places::new(self.window.size()),
                window: self.window.clone(),
                offsets: HashMap::new(),
            },
            broken: false,
        };
        let (config, tenant) = (self.config.clone(), self.tenant.clone());
        let rates = Box::new(Rates::new(tenant.limits.get()));
        self.mediator = Some(Mediator::start(
            config,
            tenant,
            (self.launch)(),
            rates,
            guest,
        )?);
        Ok(())
    }

    fn reset(&mut self) {
        self.mediator = None;
    }
}

/// A virtqueue and its doorbell.
struct Line {
    index: u16,
    queue: Queue,
    kick: Bell,
}

impl Line {
    /// Takes up to `limit` buffers and hands each to `handle`, which returns how many bytes it wrote
    /// to it. Returns whether there was any.
    fn serve(
        &mut self,
        memory: &GuestMemoryMmap,
        interrupt: &dyn VirtioInterrupt,
        limit: usize,
        mut handle: impl FnMut(Buffers) -> u32,
    ) -> Result<bool, queue::Error> {
        let mut served = 0;
        while served < limit
            && let Some(chain) = self.queue.iter(memory)?.next()
        {
            let head = chain.head_index();
            let written = handle(Buffers::of(chain)?);
            self.queue.add_used(memory, head, written)?;
            served += 1;
        }
        if served > 0 && self.queue.needs_notification(memory)? {
            interrupt.queue(self.index);
        }
        Ok(served > 0)
    }
}

/// The arenas of a VM, as it sees them.
struct Arenas {
    places: Places,
    window: Arc<dyn Window>,
    /// Where the arena of each client lies.
    offsets: HashMap<u32, u64>,
}

impl Arenas {
    fn close(&mut self, client: u32) {
        let Some(offset) = self.offsets.remove(&client) else {
            return;
        };
        match self.window.unmap(offset) {
            Ok(()) => self.places.give(offset),
            // The place stays taken, for its memory is still there.
            Err(error) => log::error!("taking an arena out of the window: {error}"),
        }
    }
}

impl Drop for Arenas {
    fn drop(&mut self) {
        let clients: Vec<u32> = self.offsets.keys().copied().collect();
        for client in clients {
            self.close(client);
        }
    }
}

/// A VM as a tenant.
struct Guest {
    control: Line,
    submit: Line,
    memory: Memory,
    interrupt: Arc<dyn VirtioInterrupt>,
    arenas: Arenas,
    /// A queue is not well-formed: nothing is taken from either until the device is reset.
    broken: bool,
}

impl Transport for Guest {
    const IN_MEMORY: bool = true;

    fn start(&mut self, core: &mut Core) -> io::Result<()> {
        for line in [&self.control, &self.submit] {
            let token = Token::Transport(u32::from(line.index));
            core.poller.add(&line.kick, token, Trigger::Edge)?;
        }
        self.after_sleep(core);
        Ok(())
    }

    fn look(&mut self, core: &mut Core) -> bool {
        if self.broken {
            return false;
        }
        let served = self.serve(core);
        self.or_fail(core, served)
    }

    fn ready(&mut self, core: &mut Core, _queue: u32) {
        // The queues are looked at in every turn.
        core.tenant().kicks.add(1);
    }

    fn before_sleep(&mut self, core: &mut Core) -> bool {
        if self.broken {
            return false;
        }
        let memory = &*self.memory;
        let control = self.control.queue.enable_notification(memory);
        let submit = self.submit.queue.enable_notification(memory);
        let more = control.and_then(|control| Ok(control | submit?));
        self.or_fail(core, more.map_err(queue::Error::from))
    }

    fn after_sleep(&mut self, core: &mut Core) {
        if self.broken {
            return;
        }
        let memory = &*self.memory;
        let control = self.control.queue.disable_notification(memory);
        let submit = self.submit.queue.disable_notification(memory);
        let done = control.and(submit).map(|()| false);
        self.or_fail(core, done.map_err(queue::Error::from));
    }
}

impl Guest {
    /// What came of looking at the queues; a broken one ends everything.
    fn or_fail(&mut self, core: &mut Core, outcome: Result<bool, queue::Error>) -> bool {
        outcome.unwrap_or_else(|error| {
            log::warn!("the accelerator stops until its driver resets it: {error}");
            core.lose_all();
            self.broken = true;
            self.interrupt.needs_reset();
            false
        })
    }

    fn serve(&mut self, core: &mut Core) -> Result<bool, queue::Error> {
        let Guest {
            control,
            submit,
            memory,
            interrupt,
            arenas,
            ..
        } = self;
        let (memory, interrupt) = (&**memory, &**interrupt);
        let mut worked = control.serve(memory, interrupt, CONTROLS_PER_TURN, |buffers| {
            respond(core, arenas, interrupt, memory, &buffers)
        })?;
        worked |= submit.serve(memory, interrupt, SUBMITS_PER_TURN, |buffers| {
            note(core, memory, &buffers);
            0
        })?;
        Ok(worked)
    }
}

/// Notes an announcement.
fn note(core: &mut Core, memory: &GuestMemoryMmap, buffers: &Buffers) {
    let mut message = [0; SUBMIT_SIZE];
    let submit = match buffers.readable.read(memory, &mut message) {
        Ok(len) => Submit::read(&message[..len]),
        Err(_) => None,
    };
    let Some(submit) = submit else {
        core.tenant().strays.add(1);
        return;
    };
    let announced = Announced {
        offset: submit.offset,
        length: submit.length,
        flags: submit.flags,
    };
    core.announce(submit.client, announced);
}

/// Answers a control request; returns the bytes written.
fn respond(
    core: &mut Core,
    arenas: &mut Arenas,
    interrupt: &dyn VirtioInterrupt,
    memory: &GuestMemoryMmap,
    buffers: &Buffers,
) -> u32 {
    let mut message = [0; MAX_REQUEST];
    let room = buffers.writable.len();
    let request = match buffers.readable.read(memory, &mut message) {
        Ok(len) => Request::read(&message[..len]),
        Err(_) => None,
    };
    let created: [u8; 24];
    let plain: [u8; 8];
    let answer: &[u8] = match request {
        Some(Request::Create(create)) if room >= 24 => {
            created = match open(core, arenas, interrupt, create) {
                Ok(answer) => answer.to_bytes(),
                Err(status) => status.to_bytes(),
            };
            &created
        }
        Some(Request::Destroy { client }) if room >= 8 => {
            let known = core.destroy(client);
            arenas.close(client);
            plain = if known { Status::Ok } else { Status::NoClient }.to_bytes();
            &plain
        }
        _ if room >= 4 => {
            plain = Status::Malformed.to_bytes();
            &plain
        }
        _ => &[],
    };
    // Where it cannot be written, the driver reads that nothing was.
    buffers.writable.write(memory, answer).unwrap_or(0) as u32
}

/// Makes a client and puts its arena into the window.
fn open(
    core: &mut Core,
    arenas: &mut Arenas,
    interrupt: &dyn VirtioInterrupt,
    create: Create,
) -> Result<Created, Status> {
    let fail = |error: io::Error| {
        log::error!("making a client: {error}");
        Status::NoWorker
    };
    let size = core.config.arena_size(create.arena_size);
    let arena_size = size.ok_or(Status::Malformed)?;
    let wake = Wake::Event(interrupt.config_event().map_err(fail)?.into());
    let made = core.create(arena_size, create.pid, &create.comm, wake);
    let client = made.map_err(|error| match error {
        CreateError::TooMany => Status::TooMany,
        CreateError::Io(error) => fail(error),
    })?;
    let placed = arenas.places.take(arena_size).ok_or(Status::NoRoom);
    let mapped = placed.and_then(|offset| {
        let file = core.arena(client).map(|(file, _)| file);
        match file.map(|file| arenas.window.map(offset, arena_size, file)) {
            Some(Ok(())) => Ok(offset),
            Some(Err(error)) => {
                arenas.places.give(offset);
                Err(fail(error))
            }
            None => Err(Status::NoClient),
        }
    });
    let window_offset = mapped.inspect_err(|_| {
        core.destroy(client);
    })?;
    arenas.offsets.insert(client, window_offset);
    Ok(Created {
        client,
        window_offset,
        arena_size,
    })
}

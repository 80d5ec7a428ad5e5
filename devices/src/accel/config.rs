//! What an accelerator is to be: the part of a configuration file that reaches the mediator.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use weir_wire::arena;
use weir_wire::function::Api;

use super::arbiter::TenantEnd;
use super::limits::Limits;
use super::spawner::Spawner;
use super::worker::Program;

/// Bytes that a name has room for in the device's configuration space, without the zero that ends
/// it.
pub const MAX_NAME: usize = 31;
/// Bytes of the smallest arena.
pub const MIN_ARENA: u64 = arena::MIN_SIZE;
/// Bytes of the largest arena.
pub const MAX_ARENA: u64 = arena::MAX_SIZE;
/// Most clients that one accelerator can serve at once.
pub const MAX_CLIENTS: u32 = 4096;

/// One accelerator, as one tenant gets it.
#[derive(Clone, Debug)]
pub struct AccelConfig {
    /// Its name in the configuration.
    pub name: String,
    /// The API that it executes; one of `apis`.
    pub api: String,
    /// The APIs that there are.
    pub apis: &'static [&'static Api],
    /// Substring of the platform's name.
    pub platform: String,
    /// Number of the device on its platform.
    pub device: u32,
    /// What the tenant may use, memory apart.
    pub limits: Limits,
    /// Who decides when commands begin on the device.
    pub sharing: Sharing,
    /// Bytes of device memory for all clients of the tenant together.
    pub memory_quota: u64,
    /// Clients served at once.
    pub max_clients: u32,
    /// Bytes of an arena for which no size is asked.
    pub arena_default: u64,
    /// Bytes of the largest arena.
    pub arena_max: u64,
    /// The worker's program.
    pub worker: PathBuf,
    /// Where workers keep what they have compiled.
    pub cache_dir: PathBuf,
    /// Most bytes of host memory that one worker may allocate; `None` for no bound of its own.
    pub worker_memory: Option<u64>,
    /// Folder of the control group (version 2) that bounds all workers together, if there is one.
    pub worker_cgroup: Option<PathBuf>,
    /// Starts the workers; `None` to start one for this accelerator.
    pub spawner: Option<Spawner>,
    /// Workers that are kept started before anybody needs them.
    pub spare_workers: usize,
    /// How long the mediator looks for work before it sleeps.
    pub polling: Polling,
}

/// Who decides when a tenant's commands begin on the device.
#[derive(Clone, Debug)]
pub enum Sharing {
    /// An arbiter of the tenant's own.
    Alone,
    /// The accelerator's arbiter.
    With(Arc<TenantEnd>),
    /// Nobody: every command begins at once. To compare with.
    Unruled,
}

/// How long a thread that found nothing to do goes on looking before it sleeps.
#[derive(Clone, Copy, Debug)]
pub struct Polling {
    /// At most this long; zero to sleep at once. Within it, the time follows what looking has been
    /// good for lately.
    pub longest: Duration,
}

impl Default for Polling {
    fn default() -> Self {
        Self {
            longest: Duration::from_micros(50),
        }
    }
}

/// Why an accelerator cannot be made.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// A name is empty, too long or has a zero byte.
    #[error("the name {0:?} of an accelerator or API is not of 1 to {MAX_NAME} bytes")]
    Name(String),
    /// There is no such API.
    #[error("there is no API called {wanted:?}; there are: {known}")]
    Api {
        /// What was asked for.
        wanted: String,
        /// What there is.
        known: String,
    },
    /// The number of clients is zero or too large.
    #[error("{0} clients at once: it must be 1 to {MAX_CLIENTS}")]
    Clients(u32),
    /// A size of arenas is out of range.
    #[error(
        "arenas of {default} bytes and at most {max}: both must be multiples of 4096 from {} to {}, \
         and the first not above the second",
        arena::MIN_SIZE,
        arena::MAX_SIZE
    )]
    Arena {
        /// The default size.
        default: u64,
        /// The largest size.
        max: u64,
    },
    /// The largest arena does not fit into the window.
    #[error("arenas of up to {max} bytes do not fit into a window of {window}")]
    Window {
        /// The largest size.
        max: u64,
        /// Bytes of the window.
        window: u64,
    },
}

impl AccelConfig {
    /// Starts the process that starts the workers, for a program that will later not be able to.
    ///
    /// # Errors
    /// The worker's program cannot be started.
    pub fn start_spawner(&mut self) -> std::io::Result<()> {
        self.spawner = Some(Spawner::start(&Program::of(self))?);
        Ok(())
    }

    /// An accelerator called `name` for the API `api` of `apis`, executed by the program `worker`;
    /// everything else at its default.
    pub fn new(
        name: impl Into<String>,
        api: impl Into<String>,
        apis: &'static [&'static Api],
        worker: impl Into<PathBuf>,
        cache_dir: impl Into<PathBuf>,
    ) -> Self {
        Self {
            name: name.into(),
            api: api.into(),
            apis,
            platform: String::new(),
            device: 0,
            limits: Limits::default(),
            sharing: Sharing::Alone,
            memory_quota: u64::MAX,
            max_clients: 64,
            arena_default: arena::DEFAULT_SIZE,
            arena_max: 4 * arena::DEFAULT_SIZE,
            worker: worker.into(),
            cache_dir: cache_dir.into(),
            worker_memory: None,
            worker_cgroup: None,
            spawner: None,
            spare_workers: 1,
            polling: Polling::default(),
        }
    }

    /// Checks everything that can be checked without asking the accelerator; returns the tables of
    /// the API.
    pub(super) fn check(&self) -> Result<&'static Api, ConfigError> {
        for name in [&self.name, &self.api] {
            if name.is_empty() || name.len() > MAX_NAME || name.contains('\0') {
                return Err(ConfigError::Name(name.clone()));
            }
        }
        if !(1..=MAX_CLIENTS).contains(&self.max_clients) {
            return Err(ConfigError::Clients(self.max_clients));
        }
        let fits = |size: u64| {
            (arena::MIN_SIZE..=arena::MAX_SIZE).contains(&size) && size.is_multiple_of(4096)
        };
        if !fits(self.arena_default) || !fits(self.arena_max) || self.arena_default > self.arena_max
        {
            return Err(ConfigError::Arena {
                default: self.arena_default,
                max: self.arena_max,
            });
        }
        let api = self.apis.iter().find(|api| api.name == self.api);
        api.copied().ok_or_else(|| ConfigError::Api {
            wanted: self.api.clone(),
            known: self
                .apis
                .iter()
                .map(|api| api.name)
                .collect::<Vec<_>>()
                .join(", "),
        })
    }

    /// Bytes of the arena of a client that asks for `wanted`; `None` if that cannot be.
    pub(super) fn arena_size(&self, wanted: u64) -> Option<u64> {
        match wanted {
            0 => Some(self.arena_default),
            _ => ((arena::MIN_SIZE..=self.arena_max).contains(&wanted)
                && wanted.is_multiple_of(4096))
            .then_some(wanted),
        }
    }
}

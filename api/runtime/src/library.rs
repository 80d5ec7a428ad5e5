//! What a vendor library must do for the worker, whatever its API.

use std::ffi::c_void;

use weir_wire::function::Api;

use crate::turn::{Made, Turn};

/// The accelerator that a client may use, as the VMM's configuration has it.
#[derive(Clone, Debug)]
pub struct Accelerator {
    /// Name of the API.
    pub api: String,
    /// Substring of the platform's name.
    pub platform: String,
    /// Index of the device on that platform.
    pub device: usize,
    /// Bytes of device memory that the tenant may use; the device is as large as that to it.
    pub memory: u64,
}

/// A vendor library could not be used.
#[derive(Debug, thiserror::Error)]
pub enum LibraryError {
    /// It could not be loaded.
    #[error("loading {library}")]
    Load {
        /// Its file name.
        library: String,
        /// Why not.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// It has no platform of this name.
    #[error("there is no {api} platform whose name contains {wanted:?}; there are: {there}")]
    NoPlatform {
        /// The API.
        api: String,
        /// The name that was looked for.
        wanted: String,
        /// Names that there are.
        there: String,
    },
    /// The platform has no device of this number.
    #[error("the platform {platform:?} has no device {wanted}; it has {count}")]
    NoDevice {
        /// The platform's name.
        platform: String,
        /// The number that was looked for.
        wanted: usize,
        /// How many there are.
        count: usize,
    },
    /// One of its functions failed.
    #[error("{function} failed with error {code}")]
    Call {
        /// The function.
        function: &'static str,
        /// Its error.
        code: i32,
    },
}

/// A platform that a vendor library offers.
#[derive(Clone, Debug)]
pub struct Platform {
    /// Its name.
    pub name: String,
    /// Its version, as it says it.
    pub version: String,
    /// Its devices.
    pub devices: Vec<Device>,
}

/// A device of a platform.
#[derive(Clone, Debug)]
pub struct Device {
    /// Its name.
    pub name: String,
    /// Its version, as it says it.
    pub version: String,
    /// What it is: `cpu`, `gpu`, `accelerator`, `custom`.
    pub kind: &'static str,
    /// Bytes of memory.
    pub global_mem: u64,
    /// Bytes of its largest buffer.
    pub max_alloc: u64,
}

impl Platform {
    /// The one platform of an API that has none: the library `file`, which runs on this host.
    pub fn of_host(api: &str, file: &str) -> Platform {
        // SAFETY: asks for two numbers.
        let pages =
            unsafe { [libc::_SC_PHYS_PAGES, libc::_SC_PAGESIZE].map(|what| libc::sysconf(what)) };
        let memory = pages
            .iter()
            .map(|n| u64::try_from(*n).unwrap_or(0))
            .product();
        Platform {
            name: file.to_owned(),
            version: api.to_owned(),
            devices: vec![Device {
                name: "this host".to_owned(),
                version: String::new(),
                kind: "cpu",
                global_mem: memory,
                max_alloc: memory,
            }],
        }
    }
}

/// How far a tracked command has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// It has not finished.
    Pending,
    /// It has finished.
    Complete {
        /// Time that the device spent on it, in nanoseconds.
        device_ns: u64,
    },
    /// It ended with an error.
    Failed,
}

/// A vendor library that has been loaded. All methods may be called from any thread.
pub trait Library: Send + Sync {
    /// The API's table.
    fn api(&self) -> &'static Api;

    /// Every platform and device that there is.
    fn platforms(&self) -> Result<Vec<Platform>, LibraryError>;

    /// Chooses the one platform and device that calls can see from now on. It is called once, before
    /// the first call. Where there is one of each, only that is to be had.
    fn choose(&self, accelerator: &Accelerator) -> Result<(), LibraryError> {
        let platforms = self.platforms()?;
        let wanted = |platform: &&Platform| platform.name.contains(&accelerator.platform);
        let Some(platform) = platforms.iter().find(wanted) else {
            let names: Vec<&str> = platforms.iter().map(|p| p.name.as_str()).collect();
            return Err(LibraryError::NoPlatform {
                api: accelerator.api.clone(),
                wanted: accelerator.platform.clone(),
                there: names.join(", "),
            });
        };
        match accelerator.device < platform.devices.len() {
            true => Ok(()),
            false => Err(LibraryError::NoDevice {
                platform: platform.name.clone(),
                wanted: accelerator.device,
                count: platform.devices.len(),
            }),
        }
    }

    /// Makes the call whose turn it is.
    fn make(&self, turn: &mut Turn<'_>) -> Made;

    /// How far the command of `event` has come.
    ///
    /// # Safety
    ///
    /// `event` is one that [`Turn::track`] was given and that has not been released.
    unsafe fn progress(&self, event: *mut c_void) -> Progress {
        let _ = event;
        Progress::Failed // an API without events has no such commands
    }

    /// Lets go of an event.
    ///
    /// # Safety
    ///
    /// As for [`progress`](Self::progress).
    unsafe fn release(&self, event: *mut c_void) {
        let _ = event;
    }

    /// Takes one more reference of an event. An API without events has none to take.
    ///
    /// # Safety
    ///
    /// `event` is alive.
    unsafe fn retain(&self, _event: *mut c_void) {}

    /// Makes a gate for work that is to be given to `line`: an event that is not complete before
    /// [`open_gate`](Self::open_gate). `None` where that cannot be.
    ///
    /// # Safety
    ///
    /// `line` is alive, and what the function's [`Order`](weir_wire::function::Order) names.
    unsafe fn make_gate(&self, _line: *mut c_void) -> Option<*mut c_void> {
        None
    }

    /// Makes an event of a command that has ended with the error `code`, where `line` would have
    /// made one. `None` where that cannot be.
    ///
    /// # Safety
    ///
    /// As for [`make_gate`](Self::make_gate).
    unsafe fn make_failed(&self, _line: *mut c_void, _code: i32) -> Option<*mut c_void> {
        None
    }

    /// Completes a gate and lets go of it.
    ///
    /// # Safety
    ///
    /// `gate` is from [`make_gate`](Self::make_gate), and this is its last use.
    unsafe fn open_gate(&self, _gate: *mut c_void) {}

    /// Calls `notify` with `data`, from any thread, when the command of `event` has ended, at once if
    /// it has already. Returns whether it will.
    ///
    /// # Safety
    ///
    /// As for [`progress`](Self::progress); and `notify` may be called with `data` whenever it may be.
    unsafe fn notify(
        &self,
        event: *mut c_void,
        notify: extern "C" fn(*mut c_void),
        data: *mut c_void,
    ) -> bool {
        let _ = (event, notify, data);
        false
    }
}

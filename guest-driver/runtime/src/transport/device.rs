//! Through the kernel module's device files, as `uapi/weir.h` describes them.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use weir_wire::arena::Arena;

use super::{Error, Sleep, Transport};

#[repr(C)]
#[derive(Default)]
struct Info {
    version: u32,
    flags: u32,
    max_clients: u32,
    reserved: u32,
    window_size: u64,
    arena_max: u64,
    arena_default: u64,
    name: [u8; 32],
    api: [u8; 32],
}

#[repr(C)]
#[derive(Default)]
struct Start {
    arena_size: u64,
    flags: u32,
    client: u32,
}

#[repr(C)]
struct Submit {
    offset: u32,
    length: u32,
}

#[repr(C)]
struct Wait {
    offset: u32,
    value: u32,
    deadline_ns: u64,
}

const fn request<T>(direction: u64, number: u64) -> libc::c_ulong {
    direction << 30 | (size_of::<T>() as u64) << 16 | 0xbe << 8 | number
}

const INFO: libc::c_ulong = request::<Info>(2, 0);
const START: libc::c_ulong = request::<Start>(3, 1);
const SUBMIT: libc::c_ulong = request::<Submit>(1, 2);
const WAIT: libc::c_ulong = request::<Wait>(1, 3);

const _: () = {
    assert!(INFO == 0x8068_be00);
    assert!(START == 0xc010_be01);
    assert!(SUBMIT == 0x4008_be02);
    assert!(WAIT == 0x4010_be03);
};

/// An open device file that is a client.
pub struct Device {
    file: File,
}

/// # Safety
/// `request` must be one whose argument is a `T`.
unsafe fn ioctl<T>(file: &File, request: libc::c_ulong, argument: &mut T) -> io::Result<()> {
    // SAFETY: the file is open, and the driver reads and writes no more than the `T` that the
    // request's number names.
    match unsafe { libc::ioctl(file.as_raw_fd(), request, std::ptr::from_mut(argument)) } {
        0.. => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Opens the device file for `api` and starts a client.
pub fn open(api: &str) -> Result<(Arena, Device), Error> {
    let named = std::env::var_os("WEIR_DEVICE").filter(|path| !path.is_empty());
    let candidates = match &named {
        Some(path) => vec![PathBuf::from(path)],
        None => device_files(),
    };
    let mut failure = None;
    for path in candidates {
        match open_one(&path, api) {
            Ok(client) => return Ok(client),
            // Another accelerator's file says nothing about this one.
            Err(Error::OtherApi { .. }) if named.is_none() => {}
            Err(error) => failure = failure.or(Some(error)),
        }
    }
    Err(failure.unwrap_or_else(|| Error::NoDevice(api.to_owned())))
}

/// `/dev/weir0` and so on, by number.
fn device_files() -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir("/dev") else {
        return Vec::new();
    };
    let mut numbers: Vec<u32> = entries
        .filter_map(|entry| {
            let name = entry.ok()?.file_name();
            name.to_str()?.strip_prefix("weir")?.parse().ok()
        })
        .collect();
    numbers.sort_unstable();
    numbers
        .into_iter()
        .map(|number| PathBuf::from(format!("/dev/weir{number}")))
        .collect()
}

fn open_one(path: &Path, api: &str) -> Result<(Arena, Device), Error> {
    let name = || path.display().to_string();
    let failed = |step| {
        move |source| Error::Step {
            step,
            path: name(),
            source,
        }
    };

    let file = File::options()
        .read(true)
        .write(true)
        .open(path)
        .map_err(failed("opening"))?;
    let mut info = Info::default();
    // SAFETY: INFO writes an `Info`.
    unsafe { ioctl(&file, INFO, &mut info) }.map_err(failed("asking what is behind"))?;
    if info.version != weir_wire::VERSION {
        return Err(Error::Version {
            path: name(),
            found: info.version,
            wanted: weir_wire::VERSION,
        });
    }
    let found = text(&info.api);
    if found != api {
        return Err(Error::OtherApi {
            path: name(),
            found,
            wanted: api.to_owned(),
        });
    }
    let mut start = Start::default();
    // SAFETY: START reads and writes a `Start`.
    unsafe { ioctl(&file, START, &mut start) }.map_err(failed("starting a client on"))?;
    let arena = Arena::map(&file, start.arena_size).map_err(failed("mapping the arena of"))?;
    Ok((arena, Device { file }))
}

fn text(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|b| *b == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end]).into_owned()
}

impl Transport for Device {
    fn submit(&self, offset: u32, len: u32) -> io::Result<()> {
        loop {
            let mut submit = Submit {
                offset,
                length: len,
            };
            // SAFETY: SUBMIT reads a `Submit`.
            match unsafe { ioctl(&self.file, SUBMIT, &mut submit) } {
                // A signal came while the queue was full; nothing was announced.
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => return result,
            }
        }
    }

    fn wait(&self, _arena: &Arena, offset: u32, value: u32, limit: Duration) -> Sleep {
        let mut wait = Wait {
            offset,
            value,
            deadline_ns: (monotonic() + limit).as_nanos() as u64,
        };
        // SAFETY: WAIT reads a `Wait`.
        match unsafe { ioctl(&self.file, WAIT, &mut wait) } {
            Ok(()) => Sleep::Look,
            Err(error) => match error.raw_os_error() {
                Some(libc::EINTR | libc::ETIMEDOUT) => Sleep::Look,
                _ => Sleep::Gone,
            },
        }
    }
}

fn monotonic() -> Duration {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    Duration::new(now.tv_sec as u64, now.tv_nsec as u32)
}

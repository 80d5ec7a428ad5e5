//! Which OpenCL platforms and devices the host's loader finds.
//!
//! The loader and every vendor's library behind it run in a process of their own: they may crash,
//! hang or leave threads behind.

use std::ffi::c_void;
use std::process::{Command, Stdio};
use std::ptr::null_mut;

use libloading::{Library, Symbol};
use serde::{Deserialize, Serialize};

use super::Finding;

const TOPIC: &str = "opencl";
const LOADER: &str = "libOpenCL.so.1";

const PLATFORM_NAME: u32 = 0x0902;
const DEVICE_TYPE_ALL: u64 = 0xffff_ffff;
const DEVICE_NAME: u32 = 0x102b;
const DEVICE_GLOBAL_MEM_SIZE: u32 = 0x101f;

/// A platform with its devices.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Platform {
    name: String,
    devices: Vec<Device>,
}

/// A device.
#[derive(Debug, Serialize, Deserialize)]
struct Device {
    name: String,
    /// Bytes of memory.
    global_mem: u64,
}

/// What the child prints.
#[derive(Serialize, Deserialize)]
enum Listing {
    #[serde(rename = "platforms")]
    Platforms(Vec<Platform>),
    #[serde(rename = "error")]
    Error(String),
}

/// Asks a child process.
pub(super) fn examine() -> (Vec<Platform>, Vec<Finding>) {
    let install = "install the device's OpenCL driver; `apt install pocl-opencl-icd` gives one that \
                   runs on the processor";
    match ask_child() {
        Ok(platforms) if platforms.is_empty() => {
            let text = "the loader finds no platform";
            (platforms, vec![Finding::warning(TOPIC, text, install)])
        }
        Ok(platforms) => {
            let findings = platforms.iter().map(describe).collect();
            (platforms, findings)
        }
        Err(why) => (Vec::new(), vec![Finding::warning(TOPIC, why, install)]),
    }
}

fn describe(platform: &Platform) -> Finding {
    let devices: Vec<String> = platform
        .devices
        .iter()
        .enumerate()
        .map(|(index, device)| {
            let mib = device.global_mem >> 20;
            format!("device {index}: {} ({mib} MiB)", device.name)
        })
        .collect();
    match devices.is_empty() {
        false => {
            let text = format!("platform \"{}\", {}", platform.name, devices.join(", "));
            Finding::good(TOPIC, text)
        }
        true => Finding::warning(
            TOPIC,
            format!("platform \"{}\" has no device", platform.name),
            "is its kernel driver loaded, and may this user open its device files?",
        ),
    }
}

fn ask_child() -> Result<Vec<Platform>, String> {
    let output = Command::new("/proc/self/exe")
        .args(["doctor", "--list-opencl"])
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output()
        .map_err(|error| format!("looking for platforms: {error}"))?;
    let text = String::from_utf8_lossy(&output.stdout);
    match serde_json::from_str(text.lines().last().unwrap_or("")) {
        Ok(Listing::Platforms(platforms)) => Ok(platforms),
        Ok(Listing::Error(why)) => Err(why),
        Err(_) => Err(format!(
            "the loader or a platform crashed ({})",
            output.status
        )),
    }
}

/// The child's part: prints what the loader finds.
pub(super) fn print_list() {
    let listing = match list() {
        Ok(platforms) => Listing::Platforms(platforms),
        Err(error) => Listing::Error(format!("the OpenCL loader cannot be used: {error}")),
    };
    println!("{}", serde_json::to_string(&listing).unwrap_or_default());
}

type GetPlatformIds = unsafe extern "C" fn(u32, *mut *mut c_void, *mut u32) -> i32;
type GetDeviceIds = unsafe extern "C" fn(*mut c_void, u64, u32, *mut *mut c_void, *mut u32) -> i32;
type GetInfo = unsafe extern "C" fn(*mut c_void, u32, usize, *mut c_void, *mut usize) -> i32;

fn list() -> Result<Vec<Platform>, libloading::Error> {
    // SAFETY: the loader's initializers run here, in a process that exists for nothing else.
    let loader = unsafe { Library::new(LOADER) }?;
    // SAFETY: these are the prototypes of OpenCL 1.0, which no loader may change.
    let (platforms, devices, platform_info, device_info): (
        Symbol<GetPlatformIds>,
        Symbol<GetDeviceIds>,
        Symbol<GetInfo>,
        Symbol<GetInfo>,
    ) = unsafe {
        (
            loader.get(b"clGetPlatformIDs\0")?,
            loader.get(b"clGetDeviceIDs\0")?,
            loader.get(b"clGetPlatformInfo\0")?,
            loader.get(b"clGetDeviceInfo\0")?,
        )
    };
    // SAFETY: `ids` calls it with room for as many entries as it says, or none.
    let platform_ids = ids(|count, ids, total| unsafe { platforms(count, ids, total) });
    let describe_device = |id: *mut c_void| {
        let mut size = [0; 8];
        // SAFETY: `id` came from the loader, and the buffer has the eight bytes of this answer.
        unsafe {
            device_info(
                id,
                DEVICE_GLOBAL_MEM_SIZE,
                8,
                size.as_mut_ptr().cast(),
                null_mut(),
            )
        };
        Device {
            name: text(&device_info, id, DEVICE_NAME),
            global_mem: u64::from_ne_bytes(size),
        }
    };
    let describe = |id: *mut c_void| Platform {
        name: text(&platform_info, id, PLATFORM_NAME),
        // SAFETY: as above; `id` came from the loader.
        devices: ids(|count, ids, total| unsafe {
            devices(id, DEVICE_TYPE_ALL, count, ids, total)
        })
        .into_iter()
        .map(describe_device)
        .collect(),
    };
    Ok(platform_ids.into_iter().map(describe).collect())
}

/// All ids that `get` answers, asked first for their number.
fn ids(get: impl Fn(u32, *mut *mut c_void, *mut u32) -> i32) -> Vec<*mut c_void> {
    let mut count = 0;
    if get(0, null_mut(), &mut count) != 0 {
        return Vec::new();
    }
    let mut ids = vec![null_mut(); count as usize];
    match get(count, ids.as_mut_ptr(), null_mut()) {
        0 => ids,
        _ => Vec::new(),
    }
}

/// The text that `get` answers about `id`.
fn text(get: &GetInfo, id: *mut c_void, what: u32) -> String {
    let mut bytes = [0u8; 256];
    let mut len = 0;
    // SAFETY: `id` came from the loader, and the buffer has the size that is said.
    let result = unsafe { get(id, what, bytes.len(), bytes.as_mut_ptr().cast(), &mut len) };
    if result != 0 {
        return "(unnamed)".into();
    }
    let text = &bytes[..len.min(bytes.len())];
    String::from_utf8_lossy(text)
        .trim_end_matches('\0')
        .trim()
        .into()
}

//! Which platforms and devices there are, and the one that a client sees.

use std::ffi::{CStr, c_void};
use std::ptr::null_mut;

use weir_runtime::library::{Accelerator, Device, LibraryError, Platform};
use weir_runtime::turn::{Made, Refused, Turn};

use super::OpenCl;
use super::answer::{ask_number, ask_text, made};
use super::generated::{Extensions, Vendor, words};
use crate::table::{constants::*, kinds};

/// The platform and the device that a client sees.
pub(super) struct Chosen {
    platform: *mut c_void,
    device: *mut c_void,
    /// Bytes of device memory that the tenant may use.
    pub(super) memory: u64,
}

// SAFETY: platforms and devices are used from any thread.
unsafe impl Send for Chosen {}
// SAFETY: as above.
unsafe impl Sync for Chosen {}

impl Chosen {
    /// The functions of those extensions that platform or device have.
    pub(super) fn extensions(&self, vendor: &Vendor) -> Extensions {
        // Platforms before 1.2 have no function that finds others, and loaders crash for want of it.
        let version = platform_text(vendor, self.platform, CL_PLATFORM_VERSION);
        let is_old =
            |text: &String| text.starts_with("OpenCL 1.0") || text.starts_with("OpenCL 1.1");
        let find = match version.is_ok_and(|text| !is_old(&text)) {
            true => vendor.clGetExtensionFunctionAddressForPlatform,
            false => None,
        };
        // Loaders give addresses of their own for functions that the vendor lacks, and crash in those.
        let platform = platform_text(vendor, self.platform, CL_PLATFORM_EXTENSIONS);
        let device = device_text(vendor, self.device, CL_DEVICE_EXTENSIONS);
        let there = [platform.unwrap_or_default(), device.unwrap_or_default()].join(" ");
        let has = |extension: &str| there.split_ascii_whitespace().any(|name| name == extension);
        let address = |extension: &str, name: &CStr| match find {
            // SAFETY: the platform is one that the library gave, and the name ends with zero.
            Some(find) if has(extension) => unsafe { find(self.platform, name.as_ptr()) },
            _ => null_mut(),
        };
        // SAFETY: functions of these names have the prototypes of Khronos' headers, which are the
        // spec's, and vendors' libraries are never unloaded.
        unsafe { Extensions::find(address) }
    }
}

/// What a platform says of itself.
pub(super) fn platform_text(
    vendor: &Vendor,
    platform: *mut c_void,
    what: u32,
) -> Result<String, i32> {
    let get = vendor.clGetPlatformInfo.ok_or(CL_INVALID_OPERATION)?;
    // SAFETY: the platform is one that the library gave, and `ask` gives room for what it asks for.
    ask_text(&|size, value, size_ret| unsafe { get(platform, what, size, value, size_ret) })
}

/// A number that a platform says of itself.
pub(super) fn platform_number(
    vendor: &Vendor,
    platform: *mut c_void,
    what: u32,
) -> Result<u64, i32> {
    let get = vendor.clGetPlatformInfo.ok_or(CL_INVALID_OPERATION)?;
    // SAFETY: as in `platform_text`.
    ask_number(&|size, value, size_ret| unsafe { get(platform, what, size, value, size_ret) })
}

/// What a device says of itself.
pub(super) fn device_text(vendor: &Vendor, device: *mut c_void, what: u32) -> Result<String, i32> {
    let get = vendor.clGetDeviceInfo.ok_or(CL_INVALID_OPERATION)?;
    // SAFETY: the device is one that the library gave, and `ask` gives room for what it asks for.
    ask_text(&|size, value, size_ret| unsafe { get(device, what, size, value, size_ret) })
}

/// A number that a device says of itself.
pub(super) fn device_number(vendor: &Vendor, device: *mut c_void, what: u32) -> Result<u64, i32> {
    let get = vendor.clGetDeviceInfo.ok_or(CL_INVALID_OPERATION)?;
    // SAFETY: as in `device_text`.
    ask_number(&|size, value, size_ret| unsafe { get(device, what, size, value, size_ret) })
}

fn platform_ids(vendor: &Vendor) -> Result<Vec<*mut c_void>, i32> {
    let get = vendor.clGetPlatformIDs.ok_or(CL_INVALID_OPERATION)?;
    let mut count = 0;
    // SAFETY: room for nothing is asked for nothing.
    match unsafe { get(0, null_mut(), &mut count) } {
        CL_SUCCESS => {}
        // The ICD loader has found no platform.
        -1001 => return Ok(Vec::new()),
        error => return Err(error),
    }
    let mut ids = vec![null_mut(); count as usize];
    // SAFETY: there is room for `count`.
    match unsafe { get(count, ids.as_mut_ptr(), null_mut()) } {
        CL_SUCCESS => Ok(ids),
        error => Err(error),
    }
}

fn device_ids(vendor: &Vendor, platform: *mut c_void) -> Result<Vec<*mut c_void>, i32> {
    let get = vendor.clGetDeviceIDs.ok_or(CL_INVALID_OPERATION)?;
    let mut count = 0;
    // SAFETY: room for nothing is asked for nothing.
    match unsafe { get(platform, CL_DEVICE_TYPE_ALL, 0, null_mut(), &mut count) } {
        CL_SUCCESS => {}
        CL_DEVICE_NOT_FOUND => return Ok(Vec::new()),
        error => return Err(error),
    }
    let mut ids = vec![null_mut(); count as usize];
    // SAFETY: there is room for `count`.
    match unsafe {
        get(
            platform,
            CL_DEVICE_TYPE_ALL,
            count,
            ids.as_mut_ptr(),
            null_mut(),
        )
    } {
        CL_SUCCESS => Ok(ids),
        error => Err(error),
    }
}

fn failed(function: &'static str) -> impl Fn(i32) -> LibraryError {
    move |code| LibraryError::Call { function, code }
}

/// Every platform and device that there is.
pub(super) fn all(vendor: &Vendor) -> Result<Vec<Platform>, LibraryError> {
    let ids = platform_ids(vendor).map_err(failed("clGetPlatformIDs"))?;
    let describe = |platform: &*mut c_void| {
        let text = |what| platform_text(vendor, *platform, what);
        let devices = device_ids(vendor, *platform).map_err(failed("clGetDeviceIDs"))?;
        Ok(Platform {
            name: text(CL_PLATFORM_NAME).map_err(failed("clGetPlatformInfo"))?,
            version: text(CL_PLATFORM_VERSION).map_err(failed("clGetPlatformInfo"))?,
            devices: devices
                .into_iter()
                .map(|device| describe_device(vendor, device))
                .collect::<Result<_, _>>()
                .map_err(failed("clGetDeviceInfo"))?,
        })
    };
    ids.iter().map(describe).collect()
}

fn describe_device(vendor: &Vendor, device: *mut c_void) -> Result<Device, i32> {
    let kind = device_number(vendor, device, CL_DEVICE_TYPE)?;
    let kinds = [
        (CL_DEVICE_TYPE_GPU, "gpu"),
        (CL_DEVICE_TYPE_ACCELERATOR, "accelerator"),
        (CL_DEVICE_TYPE_CPU, "cpu"),
    ];
    let named = kinds.iter().find(|(bit, _)| kind & bit != 0);
    Ok(Device {
        name: device_text(vendor, device, CL_DEVICE_NAME)?,
        version: device_text(vendor, device, CL_DEVICE_VERSION)?,
        kind: named.map_or("custom", |(_, name)| name),
        global_mem: device_number(vendor, device, CL_DEVICE_GLOBAL_MEM_SIZE)?,
        max_alloc: device_number(vendor, device, CL_DEVICE_MAX_MEM_ALLOC_SIZE)?,
    })
}

/// The platform and device that `wanted` describes.
pub(super) fn choose(vendor: &Vendor, wanted: &Accelerator) -> Result<Chosen, LibraryError> {
    let ids = platform_ids(vendor).map_err(failed("clGetPlatformIDs"))?;
    let mut there = Vec::new();
    for platform in ids {
        let name = platform_text(vendor, platform, CL_PLATFORM_NAME)
            .map_err(failed("clGetPlatformInfo"))?;
        if !name.contains(&wanted.platform) {
            there.push(name);
            continue;
        }
        let devices = device_ids(vendor, platform).map_err(failed("clGetDeviceIDs"))?;
        return match devices.get(wanted.device) {
            Some(device) => Ok(Chosen {
                platform,
                device: *device,
                memory: wanted.memory,
            }),
            None => Err(LibraryError::NoDevice {
                platform: name,
                wanted: wanted.device,
                count: devices.len(),
            }),
        };
    }
    Err(LibraryError::NoPlatform {
        api: "OpenCL".to_owned(),
        wanted: wanted.platform.clone(),
        there: match there.is_empty() {
            true => "none".to_owned(),
            false => there.join(", "),
        },
    })
}

/// `clGetPlatformIDs`: the chosen one.
pub(super) fn get_platform_ids(cl: &OpenCl, turn: &mut Turn<'_>) -> Made {
    use words::clGetPlatformIDs as at;
    let chosen = cl.chosen.get().ok_or(Refused(CL_INVALID_PLATFORM.into()))?;
    let room = turn.call.word(at::num_entries) as u32;
    find(
        turn,
        (at::platforms, at::num_platforms),
        kinds::CL_PLATFORM_ID,
        room,
        chosen.platform,
    )
}

/// `clGetDeviceIDs`: the chosen one, if it is of the type that is asked for.
pub(super) fn get_device_ids(cl: &OpenCl, turn: &mut Turn<'_>) -> Made {
    use words::clGetDeviceIDs as at;
    let chosen = cl.chosen.get().ok_or(Refused(CL_INVALID_PLATFORM.into()))?;
    turn.handle(at::platform, kinds::CL_PLATFORM_ID)?;
    let wanted = turn.call.word(at::device_type);
    let known = CL_DEVICE_TYPE_DEFAULT
        | CL_DEVICE_TYPE_CPU
        | CL_DEVICE_TYPE_GPU
        | CL_DEVICE_TYPE_ACCELERATOR
        | CL_DEVICE_TYPE_CUSTOM;
    if wanted != CL_DEVICE_TYPE_ALL && (wanted == 0 || wanted & !known != 0) {
        return made(CL_INVALID_DEVICE_TYPE);
    }
    let is = device_number(&cl.vendor, chosen.device, CL_DEVICE_TYPE)
        .map_err(|code| Refused(code.into()))?;
    if wanted & (is | CL_DEVICE_TYPE_DEFAULT) == 0 {
        return made(CL_DEVICE_NOT_FOUND);
    }
    let room = turn.call.word(at::num_entries) as u32;
    find(
        turn,
        (at::devices, at::num_devices),
        kinds::CL_DEVICE_ID,
        room,
        chosen.device,
    )
}

/// Answers a search with the one object that there is.
fn find(
    turn: &mut Turn<'_>,
    (list, count): (usize, usize),
    kind: usize,
    room: u32,
    object: *mut c_void,
) -> Made {
    let has_list = !turn.is_null(list);
    if (has_list && room == 0) || (!has_list && turn.is_null(count)) {
        return made(CL_INVALID_VALUE);
    }
    turn.bind_found(list, kind, &[object]);
    turn.write(count, &1u32.to_le_bytes());
    made(CL_SUCCESS)
}

//! What platform and device can do, less what Weir does not carry: a program that asks is told what
//! it will find.

use weir_runtime::turn::{Made, Refused, Turn};

use super::OpenCl;
use super::answer::{Place, ask, give, made, text};
use super::generated::{EXTENSIONS, Vendor, calls, words};
use super::platforms::{device_number, device_text, platform_number, platform_text};
use crate::table::{constants::*, kinds};

/// What a device can be asked for, from first to last: the numbers of the core, which extensions of
/// Khronos' use as well, and those of other extensions that are carried. What else vendors answer belongs
/// to extensions that are not carried, and some of it is addresses in this process.
const QUERIES: &[(u32, u32)] = &[
    (CL_DEVICE_TYPE, 0x107F),
    (0x2035, 0x2035), // cl_khr_subgroup_named_barrier
    (0x4000, 0x400A), // cl_nv_device_attribute_query
    (0x4030, 0x404C), // cl_amd_device_attribute_query
    (0x4054, 0x4058), // cl_ext_device_fission
    (0x4108, 0x4108), // cl_intel_required_subgroup_size
    (0x410F, 0x410F), // cl_khr_pci_bus_info
    (0x4231, 0x4233), // cl_ext_float_atomics
];

/// The newest version of the API whose functions are all there: 3.0.
const NEWEST: (u32, u32) = (3, 0);

/// Features of OpenCL C that need what is not carried.
const FEATURES_NOT_CARRIED: &[&str] = &["__opencl_c_device_enqueue"];

/// Bytes of a `cl_name_version`: a version, then a name of 64 bytes.
const NAME_VERSION: usize = 68;

fn carried_extensions(all: &str) -> String {
    let carried = all.split_ascii_whitespace().filter(|name| is_carried(name));
    carried.collect::<Vec<_>>().join(" ")
}

/// Those entries of an array of `cl_name_version` whose name is to be kept. Nothing is behind a name:
/// vendors leave there what was in their memory before.
fn named(all: &[u8], keep: impl Fn(&str) -> bool) -> Vec<u8> {
    let (entries, _) = all.as_chunks::<NAME_VERSION>();
    let mut kept = Vec::new();
    for entry in entries {
        let (version, text) = entry.split_at(4);
        let name = text.split(|byte| *byte == 0).next().unwrap_or_default();
        if keep(&String::from_utf8_lossy(name)) {
            let end = kept.len() + NAME_VERSION;
            kept.extend_from_slice(version);
            kept.extend_from_slice(name);
            kept.resize(end, 0);
        }
    }
    kept
}

/// Whether a device may be asked for `what`.
fn is_asked(what: u32) -> bool {
    QUERIES
        .iter()
        .any(|&(first, last)| (first..=last).contains(&what))
}

/// The text of a version, as `OpenCL 3.1 and more`, but not above [`NEWEST`]: a program would call
/// functions of a newer one, which are not there.
fn at_most_newest(version: &str) -> String {
    let number = |text: &str| text.parse::<u32>().ok();
    let mut words = version.splitn(3, ' ');
    let (Some("OpenCL"), Some(given)) = (words.next(), words.next()) else {
        return version.to_owned();
    };
    let parts = given
        .split_once('.')
        .and_then(|(major, minor)| Some((number(major)?, number(minor)?)));
    match (parts, words.next()) {
        (Some(parts), rest) if parts > NEWEST => {
            let (major, minor) = NEWEST;
            format!("OpenCL {major}.{minor} {}", rest.unwrap_or_default())
        }
        _ => version.to_owned(),
    }
}

/// The same for a `cl_version`: 10 bits of major version, 10 of minor, 12 of patch.
fn at_most_newest_number(version: u64) -> u32 {
    let (major, minor) = NEWEST;
    let newest = major << 22 | minor << 12;
    let is_newer = version >> 12 > u64::from(newest >> 12);
    if is_newer { newest } else { version as u32 }
}

fn is_carried(name: &str) -> bool {
    EXTENSIONS.binary_search(&name).is_ok()
}

/// `clGetPlatformInfo`.
pub(super) fn get_platform_info(vendor: &Vendor, turn: &mut Turn<'_>) -> Made {
    use words::clGetPlatformInfo as at;
    let place = Place {
        value: at::param_value,
        size: at::param_value_size_ret,
    };
    let platform = turn.handle(at::platform, kinds::CL_PLATFORM_ID)?;
    let what = turn.call.word(at::param_name) as u32;
    let refused = |code: i32| Refused(code.into());
    match what {
        CL_PLATFORM_EXTENSIONS => {
            let all = platform_text(vendor, platform, what).map_err(refused)?;
            give(turn, place, &text(&carried_extensions(&all)))
        }
        CL_PLATFORM_VERSION => {
            let version = platform_text(vendor, platform, what).map_err(refused)?;
            give(turn, place, &text(&at_most_newest(&version)))
        }
        CL_PLATFORM_NUMERIC_VERSION => {
            let version = platform_number(vendor, platform, what).map_err(refused)?;
            give(turn, place, &at_most_newest_number(version).to_le_bytes())
        }
        CL_PLATFORM_EXTENSIONS_WITH_VERSION => {
            let get = vendor.clGetPlatformInfo.ok_or(refused(CL_INVALID_VALUE))?;
            // SAFETY: the platform is the library's, and `ask` gives room for what it asks for.
            let all =
                ask(&|size, value, size_ret| unsafe { get(platform, what, size, value, size_ret) });
            give(turn, place, &named(&all.map_err(refused)?, is_carried))
        }
        _ => calls::clGetPlatformInfo(vendor, turn),
    }
}

/// `clGetDeviceInfo`.
pub(super) fn get_device_info(cl: &OpenCl, vendor: &Vendor, turn: &mut Turn<'_>) -> Made {
    use words::clGetDeviceInfo as at;
    let place = Place {
        value: at::param_value,
        size: at::param_value_size_ret,
    };
    let device = turn.handle(at::device, kinds::CL_DEVICE_ID)?;
    let what = turn.call.word(at::param_name) as u32;
    let refused = |code: i32| Refused(code.into());
    match what {
        _ if !is_asked(what) => made(CL_INVALID_VALUE),
        CL_DEVICE_VERSION => {
            let version = device_text(vendor, device, what).map_err(refused)?;
            give(turn, place, &text(&at_most_newest(&version)))
        }
        CL_DEVICE_NUMERIC_VERSION => {
            let version = device_number(vendor, device, what).map_err(refused)?;
            give(turn, place, &at_most_newest_number(version).to_le_bytes())
        }
        // The tenant's quota is all the memory that there is to it.
        CL_DEVICE_GLOBAL_MEM_SIZE | CL_DEVICE_MAX_MEM_ALLOC_SIZE => {
            let real = device_number(vendor, device, what).map_err(refused)?;
            let quota = cl.chosen.get().map_or(real, |chosen| chosen.memory);
            give(turn, place, &real.min(quota).to_le_bytes())
        }
        CL_DEVICE_EXTENSIONS => {
            let all = device_text(vendor, device, what).map_err(refused)?;
            give(turn, place, &text(&carried_extensions(&all)))
        }
        CL_DEVICE_EXTENSIONS_WITH_VERSION
        | CL_DEVICE_OPENCL_C_FEATURES
        | CL_DEVICE_OPENCL_C_ALL_VERSIONS
        | CL_DEVICE_ILS_WITH_VERSION
        | CL_DEVICE_BUILT_IN_KERNELS_WITH_VERSION => {
            let get = vendor.clGetDeviceInfo.ok_or(refused(CL_INVALID_VALUE))?;
            // SAFETY: the device is the library's, and `ask` gives room for what it asks for.
            let all =
                ask(&|size, value, size_ret| unsafe { get(device, what, size, value, size_ret) });
            let all = all.map_err(refused)?;
            give(
                turn,
                place,
                &match what {
                    CL_DEVICE_EXTENSIONS_WITH_VERSION => named(&all, is_carried),
                    CL_DEVICE_OPENCL_C_FEATURES => {
                        named(&all, |name| !FEATURES_NOT_CARRIED.contains(&name))
                    }
                    _ => named(&all, |_| true),
                },
            )
        }
        CL_DEVICE_EXECUTION_CAPABILITIES => give(turn, place, &1u64.to_le_bytes()), // kernels only
        // Mapped memory is a copy, so none is shared with the host.
        CL_DEVICE_HOST_UNIFIED_MEMORY => give(turn, place, &CL_FALSE.to_le_bytes()),
        _ => match size_of_absent(what) {
            Some(size) => give(turn, place, &[0; 8][..size]),
            None => calls::clGetDeviceInfo(vendor, turn),
        },
    }
}

/// For a capability that is not carried, the bytes of the zero that says so.
fn size_of_absent(what: u32) -> Option<usize> {
    Some(match what {
        // Queues on the device; shared virtual memory.
        CL_DEVICE_QUEUE_ON_DEVICE_PREFERRED_SIZE
        | CL_DEVICE_QUEUE_ON_DEVICE_MAX_SIZE
        | CL_DEVICE_MAX_ON_DEVICE_QUEUES
        | CL_DEVICE_MAX_ON_DEVICE_EVENTS => 4,
        CL_DEVICE_SVM_CAPABILITIES
        | CL_DEVICE_QUEUE_ON_DEVICE_PROPERTIES
        | CL_DEVICE_DEVICE_ENQUEUE_CAPABILITIES => 8,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn extensions_that_are_not_carried_are_left_out() {
        let all = "cl_khr_byte_addressable_store cl_khr_gl_sharing  cl_khr_fp64 cl_khr_il_program";
        assert_eq!(
            carried_extensions(all),
            "cl_khr_byte_addressable_store cl_khr_fp64 cl_khr_il_program"
        );
        let mut entries = vec![0u8; 2 * NAME_VERSION + 5];
        entries[4..15].copy_from_slice(b"cl_khr_fp64");
        entries[NAME_VERSION + 4..NAME_VERSION + 13].copy_from_slice(b"cl_khr_gl");
        assert_eq!(named(&entries, is_carried), entries[..NAME_VERSION]);
        let clean = entries[..NAME_VERSION].to_vec();
        entries[16..NAME_VERSION].fill(0x7F); // behind the name and its zero
        assert_eq!(named(&entries, is_carried), clean);
    }

    #[test]
    fn versions_are_not_newer_than_what_is_carried() {
        for (vendor, told) in [
            ("OpenCL 3.1 (Build 0)", "OpenCL 3.0 (Build 0)"),
            ("OpenCL 10.2 CUDA 99", "OpenCL 3.0 CUDA 99"),
            ("OpenCL 3.1 ", "OpenCL 3.0 "),
            ("OpenCL 3.0 PoCL HSTR: 3.1 x", "OpenCL 3.0 PoCL HSTR: 3.1 x"),
            ("OpenCL 1.2 LINUX", "OpenCL 1.2 LINUX"),
            ("a version", "a version"),
        ] {
            assert_eq!(at_most_newest(vendor), told);
        }
        assert_eq!(at_most_newest_number(3 << 22 | 1 << 12), 3 << 22);
        assert_eq!(at_most_newest_number(3 << 22 | 7), 3 << 22 | 7);
        assert_eq!(at_most_newest_number(2 << 22 | 2 << 12), 2 << 22 | 2 << 12);
    }

    #[test]
    fn only_what_is_carried_can_be_asked_for() {
        let carried = [
            CL_DEVICE_TYPE,
            CL_DEVICE_MAX_CLOCK_FREQUENCY,
            0x1072,
            0x4003,
            0x4108,
        ];
        assert!(carried.into_iter().all(is_asked));
        // Shared memory of Intel's, names that are pointers, command buffers, SPIR.
        let others = [0x4190, 0x4194, 0x12B9, 0x12A9, 0x40E0, 0, u32::MAX];
        assert!(!others.into_iter().any(is_asked));
        let apart = |pair: &[(u32, u32)]| pair[0].0 <= pair[0].1 && pair[0].1 < pair[1].0;
        assert!(QUERIES.windows(2).all(apart));
    }

    #[test]
    fn the_list_is_sorted() {
        assert!(EXTENSIONS.is_sorted());
        assert!(FEATURES_NOT_CARRIED.is_sorted());
    }
}

//! Arguments of kernels: which are objects, and which bytes.
//!
//! The guest cannot know whether eight bytes that name an object are meant as one; the kernel does.
//! So the kernel is asked, once for each argument. Bytes that name nothing never reach the vendor
//! where it would take them for a pointer.

use std::collections::HashMap;
use std::ffi::c_void;
use std::sync::{Mutex, PoisonError};

use weir_runtime::turn::{Made, Refused, Turn};

use super::answer::{ask_number, ask_text, made, unsupported};
use super::generated::{Vendor, words};
use crate::table::{constants::*, kinds};

/// Arguments that are remembered; then all are asked for once more.
const MOST: usize = 4096;

/// What an argument is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum What {
    /// An object of this kind.
    Object(usize),
    /// Bytes, or local memory.
    Bytes,
    /// The vendor does not say.
    Unknown,
}

/// What arguments are, by the kernel's handle and the argument's index.
#[derive(Default)]
pub(super) struct Arguments(Mutex<HashMap<(u64, u32), What>>);

impl Arguments {
    fn what(&self, vendor: &Vendor, handle: u64, kernel: *mut c_void, index: u32) -> What {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= MOST {
            known.clear();
        }
        *known
            .entry((handle, index))
            .or_insert_with(|| ask(vendor, kernel, index).unwrap_or(What::Unknown))
    }
}

/// Asks the vendor what an argument is; `None` if it does not say.
fn ask(vendor: &Vendor, kernel: *mut c_void, index: u32) -> Option<What> {
    let get = vendor.clGetKernelArgInfo?;
    let query = |what| {
        move |size, value, size_ret| {
            // SAFETY: the kernel is this client's, and there is room for what is asked for.
            unsafe { get(kernel, index, what, size, value, size_ret) }
        }
    };
    let space = ask_number(&query(CL_KERNEL_ARG_ADDRESS_QUALIFIER)).ok()?;
    let name = || ask_text(&query(CL_KERNEL_ARG_TYPE_NAME));
    Some(match u32::try_from(space).ok()? {
        CL_KERNEL_ARG_ADDRESS_GLOBAL | CL_KERNEL_ARG_ADDRESS_CONSTANT => {
            What::Object(kinds::CL_MEM)
        }
        CL_KERNEL_ARG_ADDRESS_LOCAL => What::Bytes,
        _ => of_type(&name().ok()?),
    })
}

/// What an argument of a type is that is in no memory.
fn of_type(name: &str) -> What {
    match name.trim_start_matches("const ").trim() {
        "sampler_t" => What::Object(kinds::CL_SAMPLER),
        "queue_t" => What::Object(kinds::CL_COMMAND_QUEUE),
        name if name.starts_with("image") && name.ends_with("_t") => What::Object(kinds::CL_MEM),
        name if name.starts_with("pipe ") => What::Object(kinds::CL_MEM),
        _ => What::Bytes,
    }
}

/// The error for a value that is no object of `kind`.
fn invalid(kind: usize) -> Refused {
    let code = match kind {
        kinds::CL_SAMPLER => CL_INVALID_SAMPLER,
        kinds::CL_COMMAND_QUEUE => CL_INVALID_DEVICE_QUEUE,
        _ => CL_INVALID_MEM_OBJECT,
    };
    Refused(code.into())
}

/// `clSetKernelArg`.
pub(super) fn set(arguments: &Arguments, vendor: &Vendor, turn: &mut Turn<'_>) -> Made {
    use words::clSetKernelArg as at;
    let function = vendor.clSetKernelArg.ok_or(unsupported())?;
    let kernel = turn.handle(at::kernel, kinds::CL_KERNEL)?;
    let index = turn.call.word(at::arg_index) as u32;
    let size = turn.call.word(at::arg_size);
    let named = turn.named(at::arg_value)?;
    let bytes = turn.bytes(at::arg_value, size)?;
    let what = match size == 8 && !(bytes.is_null() && named.is_none()) {
        true => arguments.what(vendor, turn.call.word(at::kernel), kernel, index),
        false => What::Bytes,
    };
    let value = match (what, named) {
        (What::Object(wanted), Some((kind, pointer))) if kind == wanted => turn.place(pointer)?,
        (What::Object(kind), None) if is_null(bytes) && kind == kinds::CL_MEM => bytes,
        (What::Object(kind), _) => return Err(invalid(kind)),
        (What::Unknown, Some((_, pointer))) => turn.place(pointer)?,
        // (No honest library names an object without its bytes.)
        (What::Bytes, Some(_)) if bytes.is_null() => return Err(invalid(kinds::CL_MEM)),
        (What::Bytes, _) | (What::Unknown, None) => bytes,
    };
    turn.begin();
    // SAFETY: the kernel is this client's, and the value is null or has `size` bytes.
    made(unsafe { function(kernel, index, size as usize, value) })
}

/// Whether these eight bytes are all zero.
fn is_null(bytes: *const c_void) -> bool {
    // SAFETY: `Turn::bytes` gave eight bytes, which need not be aligned, or null.
    !bytes.is_null() && unsafe { bytes.cast::<u64>().read_unaligned() } == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_tell_what_an_argument_is() {
        for (name, what) in [
            ("sampler_t", What::Object(kinds::CL_SAMPLER)),
            ("image2d_array_t", What::Object(kinds::CL_MEM)),
            ("queue_t", What::Object(kinds::CL_COMMAND_QUEUE)),
            ("ulong", What::Bytes),
            ("image", What::Bytes),
        ] {
            assert_eq!(of_type(name), what, "{name}");
        }
    }
}

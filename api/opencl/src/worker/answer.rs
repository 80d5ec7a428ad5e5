//! Answers to queries, put together here or asked of the vendor.

use std::ptr::null_mut;

use weir_runtime::turn::{Answer, Made, Refused, Turn};

use crate::table::constants::*;

/// Where a query's answer goes: the words of `param_value` and `param_value_size_ret`.
#[derive(Clone, Copy)]
pub(super) struct Place {
    pub(super) value: usize,
    pub(super) size: usize,
}

/// The call was made, and ended with `error`.
pub(super) fn made(error: i32) -> Made {
    Ok(Answer {
        value: u64::from(error as u32),
        error,
    })
}

/// The error of a call that is not carried.
pub(super) fn unsupported() -> Refused {
    Refused(crate::table::API.errors.unsupported)
}

/// Answers a query with `bytes`, as OpenCL answers queries: into `param_value`, if it is not null
/// and large enough, and their number into `param_value_size_ret`.
pub(super) fn give(turn: &Turn<'_>, place: Place, bytes: &[u8]) -> Made {
    if !turn.is_null(place.value) {
        if turn.len(place.value) < bytes.len() as u64 {
            return made(CL_INVALID_VALUE);
        }
        turn.write(place.value, bytes);
    }
    turn.write(place.size, &bytes.len().to_le_bytes());
    made(CL_SUCCESS)
}

/// A query of the vendor, with everything given but size, value and size returned.
pub(super) type Query<'a> = &'a dyn Fn(usize, *mut std::ffi::c_void, *mut usize) -> i32;

/// The whole answer that the vendor gives to a query.
pub(super) fn ask(query: Query<'_>) -> Result<Vec<u8>, i32> {
    let mut size = 0;
    match query(0, null_mut(), &mut size) {
        CL_SUCCESS => {}
        error => return Err(error),
    }
    let mut bytes = vec![0u8; size];
    match query(size, bytes.as_mut_ptr().cast(), null_mut()) {
        CL_SUCCESS => Ok(bytes),
        error => Err(error),
    }
}

/// The same, as a number; an answer of another size than a number's is an error.
pub(super) fn ask_number(query: Query<'_>) -> Result<u64, i32> {
    let bytes = ask(query)?;
    match bytes.len() {
        4 | 8 => {
            let mut value = [0; 8];
            value[..bytes.len()].copy_from_slice(&bytes);
            Ok(u64::from_le_bytes(value))
        }
        _ => Err(CL_INVALID_VALUE),
    }
}

/// The same, as text without its final zero.
pub(super) fn ask_text(query: Query<'_>) -> Result<String, i32> {
    let mut bytes = ask(query)?;
    while bytes.last() == Some(&0) {
        bytes.pop();
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Text as a query's answer: with its final zero.
pub(super) fn text(text: &str) -> Vec<u8> {
    let mut bytes = text.as_bytes().to_vec();
    bytes.push(0);
    bytes
}

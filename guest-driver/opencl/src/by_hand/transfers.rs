//! Reading and writing buffers, in pieces where the arena could not hold the whole.

use std::ffi::c_void;

use weir_guest::Code;
use weir_guest::call::Bulk;
use weir_guest::connection::Connection;

use super::{LIBRARY, status};
use crate::generated::{
    CL_CONTEXT_DEVICES, CL_TRUE, cl_bool, cl_command_queue, cl_context, cl_device_id, cl_event,
    cl_int, cl_mem, cl_uint, encode,
};

/// Most bytes that go at once. Of larger transfers each piece waits for the one before it, also if
/// the program does not want to wait: there would be no room for all of them.
pub fn largest_piece(weir: &Connection) -> usize {
    (weir.arena().size() / 4).next_multiple_of(4096) as usize
}

/// One piece of a transfer.
struct Piece {
    /// Where it begins in the whole.
    at: usize,
    len: usize,
    is_first: bool,
    is_last: bool,
}

fn in_pieces(
    total: usize,
    largest: usize,
    mut transfer: impl FnMut(Piece) -> Result<(), Code>,
) -> Result<(), Code> {
    let mut at = 0;
    loop {
        let len = (total - at).min(largest);
        transfer(Piece {
            at,
            len,
            is_first: at == 0,
            is_last: at + len == total,
        })?;
        at += len;
        if at == total {
            return Ok(());
        }
    }
}

pub unsafe extern "C" fn clEnqueueReadBuffer(
    command_queue: cl_command_queue,
    buffer: cl_mem,
    blocking_read: cl_bool,
    offset: usize,
    cb: usize,
    ptr: *mut c_void,
    num_events_in_wait_list: cl_uint,
    event_wait_list: *const cl_event,
    event: *mut cl_event,
) -> cl_int {
    status(LIBRARY.current().and_then(|weir| {
        let largest = largest_piece(weir);
        let blocking = if cb > largest { CL_TRUE } else { blocking_read };
        // SAFETY: the program answers for its pointers.
        in_pieces(cb, largest, |piece| unsafe {
            let (count, list) = match piece.is_first {
                true => (num_events_in_wait_list, event_wait_list),
                false => (0, std::ptr::null()),
            };
            let to = match ptr.is_null() {
                true => ptr,
                false => ptr.wrapping_byte_add(piece.at),
            };
            encode::clEnqueueReadBuffer(
                command_queue,
                buffer,
                blocking,
                offset.wrapping_add(piece.at),
                piece.len,
                Bulk::line(to),
                count,
                list,
                if piece.is_last {
                    event
                } else {
                    std::ptr::null_mut()
                },
                false,
            )
        })
    }))
}

pub unsafe extern "C" fn clEnqueueWriteBuffer(
    command_queue: cl_command_queue,
    buffer: cl_mem,
    blocking_write: cl_bool,
    offset: usize,
    cb: usize,
    ptr: *const c_void,
    num_events_in_wait_list: cl_uint,
    event_wait_list: *const cl_event,
    event: *mut cl_event,
) -> cl_int {
    status(LIBRARY.current().and_then(|weir| {
        let largest = largest_piece(weir);
        let blocking = if cb > largest {
            CL_TRUE
        } else {
            blocking_write
        };
        // SAFETY: the program answers for its pointers.
        in_pieces(cb, largest, |piece| unsafe {
            let (count, list) = match piece.is_first {
                true => (num_events_in_wait_list, event_wait_list),
                false => (0, std::ptr::null()),
            };
            let from = match ptr.is_null() {
                true => ptr,
                false => ptr.wrapping_byte_add(piece.at),
            };
            encode::clEnqueueWriteBuffer(
                command_queue,
                buffer,
                blocking,
                offset.wrapping_add(piece.at),
                piece.len,
                Bulk::line(from),
                count,
                list,
                if piece.is_last {
                    event
                } else {
                    std::ptr::null_mut()
                },
                false,
            )
        })
    }))
}

/// Writes a new buffer's first contents, which are too large to travel with its creation.
///
/// # Safety
/// `from` must be valid for reading `size` bytes.
pub unsafe fn fill_new(
    context: cl_context,
    buffer: cl_mem,
    size: usize,
    from: *const c_void,
) -> Result<(), Code> {
    let mut device: cl_device_id = std::ptr::null_mut();
    let mut unused = 0;
    // SAFETY: the pointers are to variables of this function; the source is the caller's.
    unsafe {
        let value = (&raw mut device).cast();
        encode::clGetContextInfo(context, CL_CONTEXT_DEVICES, 8, value, &mut unused)?;
        let queue = encode::clCreateCommandQueue(context, device, 0)?;
        let none = std::ptr::null();
        let written = in_pieces(size, largest_piece(LIBRARY.current()?), |piece| {
            encode::clEnqueueWriteBuffer(
                queue,
                buffer,
                CL_TRUE,
                piece.at,
                piece.len,
                Bulk::line(from.wrapping_byte_add(piece.at)),
                0,
                none,
                std::ptr::null_mut(),
                false,
            )
        });
        encode::clReleaseCommandQueue(queue)?;
        written
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pieces(total: usize, largest: usize) -> Vec<(usize, usize, bool, bool)> {
        let mut pieces = Vec::new();
        let all = in_pieces(total, largest, |p| {
            pieces.push((p.at, p.len, p.is_first, p.is_last));
            Ok(())
        });
        assert!(all.is_ok());
        pieces
    }

    #[test]
    fn pieces_make_up_the_whole() {
        assert_eq!(pieces(10, 10), [(0, 10, true, true)]);
        assert_eq!(pieces(0, 10), [(0, 0, true, true)]);
        let three = [
            (0, 4, true, false),
            (4, 4, false, false),
            (8, 1, false, true),
        ];
        assert_eq!(pieces(9, 4), three);
    }
}

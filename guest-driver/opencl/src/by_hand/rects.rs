//! Rectangles of host memory: only their own bytes travel, packed.

use std::ffi::c_void;

use weir_guest::Code;
use weir_guest::call::Bulk;
use weir_guest::deferred::Shape;

use super::{code, status};
use crate::generated::{
    CL_INVALID_VALUE, cl_bool, cl_command_queue, cl_event, cl_int, cl_mem, cl_uint, encode,
};

pub unsafe extern "C" fn clEnqueueReadBufferRect(
    command_queue: cl_command_queue,
    buffer: cl_mem,
    blocking_read: cl_bool,
    buffer_origin: *const usize,
    host_origin: *const usize,
    region: *const usize,
    buffer_row_pitch: usize,
    buffer_slice_pitch: usize,
    host_row_pitch: usize,
    host_slice_pitch: usize,
    ptr: *mut c_void,
    num_events_in_wait_list: cl_uint,
    event_wait_list: *const cl_event,
    event: *mut cl_event,
) -> cl_int {
    // SAFETY: the program answers for its pointers, and its memory for the rectangle.
    status(unsafe {
        place(ptr, host_origin, region, host_row_pitch, host_slice_pitch).and_then(|ptr| {
            encode::clEnqueueReadBufferRect(
                command_queue,
                buffer,
                blocking_read,
                buffer_origin,
                region,
                buffer_row_pitch,
                buffer_slice_pitch,
                ptr,
                num_events_in_wait_list,
                event_wait_list,
                event,
                false,
            )
        })
    })
}

pub unsafe extern "C" fn clEnqueueWriteBufferRect(
    command_queue: cl_command_queue,
    buffer: cl_mem,
    blocking_write: cl_bool,
    buffer_origin: *const usize,
    host_origin: *const usize,
    region: *const usize,
    buffer_row_pitch: usize,
    buffer_slice_pitch: usize,
    host_row_pitch: usize,
    host_slice_pitch: usize,
    ptr: *const c_void,
    num_events_in_wait_list: cl_uint,
    event_wait_list: *const cl_event,
    event: *mut cl_event,
) -> cl_int {
    // SAFETY: as for reading.
    status(unsafe {
        place(ptr, host_origin, region, host_row_pitch, host_slice_pitch).and_then(|ptr| {
            encode::clEnqueueWriteBufferRect(
                command_queue,
                buffer,
                blocking_write,
                buffer_origin,
                region,
                buffer_row_pitch,
                buffer_slice_pitch,
                ptr,
                num_events_in_wait_list,
                event_wait_list,
                event,
                false,
            )
        })
    })
}

/// The bytes of a rectangle in the program's memory.
///
/// # Safety
/// `origin` and `region` must be null or valid for reading three numbers.
unsafe fn place(
    ptr: *const c_void,
    origin: *const usize,
    region: *const usize,
    row_pitch: usize,
    slice_pitch: usize,
) -> Result<Bulk, Code> {
    let invalid = code(CL_INVALID_VALUE);
    if ptr.is_null() || origin.is_null() || region.is_null() {
        return Err(invalid);
    }
    // SAFETY: so the caller says.
    let (origin, region) = unsafe { (*origin.cast(), *region.cast()) };
    let (offset, shape) = shape(origin, region, row_pitch, slice_pitch).ok_or(invalid)?;
    Ok(Bulk::shaped(ptr.wrapping_byte_add(offset), shape))
}

/// Where a rectangle begins, and its shape; `None` if it cannot be.
fn shape(
    origin: [usize; 3],
    region: [usize; 3],
    row_pitch: usize,
    slice_pitch: usize,
) -> Option<(usize, Shape)> {
    let [row, rows, slices] = region;
    if region.contains(&0) {
        return None;
    }
    let row_pitch = if row_pitch == 0 { row } else { row_pitch };
    let slice = rows.checked_mul(row_pitch)?;
    let slice_pitch = if slice_pitch == 0 { slice } else { slice_pitch };
    if row_pitch < row || slice_pitch < slice || !slice_pitch.is_multiple_of(row_pitch) {
        return None;
    }
    let shape = Shape {
        row,
        rows,
        slices,
        row_pitch,
        slice_pitch,
    };
    let spread = slices.checked_mul(slice_pitch)?;
    let offset = origin[2]
        .checked_mul(slice_pitch)?
        .checked_add(origin[1].checked_mul(row_pitch)?)?
        .checked_add(origin[0])?;
    offset
        .checked_add(spread)
        .filter(|end| *end <= isize::MAX as usize)?;
    Some((offset, shape))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pitches_of_zero_mean_tightly_packed() {
        let (offset, shape) = shape([1, 2, 3], [4, 5, 6], 0, 0).unwrap();
        assert_eq!((shape.row_pitch, shape.slice_pitch), (4, 20));
        assert_eq!(offset, 3 * 20 + 2 * 4 + 1);
        assert_eq!(shape.len(), 4 * 5 * 6);
    }

    #[test]
    fn rectangles_that_cannot_be_are_refused() {
        for (region, row_pitch, slice_pitch) in [
            ([0, 1, 1], 0, 0),
            ([8, 1, 1], 7, 0),
            ([8, 2, 1], 8, 15),
            ([8, 2, 1], 8, 17),
            ([usize::MAX, 2, 1], 0, 0),
            ([8, usize::MAX, 1], 8, 0),
        ] {
            assert_eq!(shape([0; 3], region, row_pitch, slice_pitch), None);
        }
    }
}

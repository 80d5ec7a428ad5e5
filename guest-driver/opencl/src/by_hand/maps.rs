//! Mapping buffers: a part of a buffer in memory that the program sees, for a while.
//!
//! The device reads and writes the arena, and the program gets the arena's own address: nothing is
//! copied in between. Only a buffer that is to use the program's memory is copied to and from there.

use std::ffi::c_void;
use std::sync::Arc;

use weir_guest::Code;
use weir_guest::call::Bulk;
use weir_guest::connection::Connection;

use super::buffers::{Map, with_buffer};
use super::{LIBRARY, code, object, pointer, status};
use crate::generated::{
    CL_INVALID_VALUE, CL_MAP_FAILURE, CL_MAP_READ, CL_MAP_WRITE, CL_MAP_WRITE_INVALIDATE_REGION,
    cl_bool, cl_command_queue, cl_event, cl_int, cl_map_flags, cl_mem, cl_uint, encode, kind,
};

/// Mapped memory begins at a multiple of the largest built-in type's size.
const ALIGNMENT: usize = 128;

pub unsafe extern "C" fn clEnqueueMapBuffer(
    command_queue: cl_command_queue,
    buffer: cl_mem,
    blocking_map: cl_bool,
    map_flags: cl_map_flags,
    offset: usize,
    cb: usize,
    num_events_in_wait_list: cl_uint,
    event_wait_list: *const cl_event,
    event: *mut cl_event,
    errcode_ret: *mut cl_int,
) -> *mut c_void {
    // SAFETY: the program answers for its pointers.
    unsafe {
        let mapped = LIBRARY.current().and_then(|weir| {
            map(weir, buffer, map_flags, offset, cb, |data| {
                encode::clEnqueueMapBuffer(
                    command_queue,
                    buffer,
                    blocking_map,
                    map_flags,
                    offset,
                    cb,
                    num_events_in_wait_list,
                    event_wait_list,
                    event,
                    data,
                    false,
                )
            })
        });
        pointer(mapped, errcode_ret)
    }
}

fn map(
    weir: &'static Connection,
    buffer: cl_mem,
    flags: cl_map_flags,
    offset: usize,
    size: usize,
    enqueue: impl FnOnce(Bulk) -> Result<(), Code>,
) -> Result<*mut c_void, Code> {
    let known = CL_MAP_READ | CL_MAP_WRITE | CL_MAP_WRITE_INVALIDATE_REGION;
    let discards = flags & CL_MAP_WRITE_INVALIDATE_REGION != 0;
    if flags & !known != 0 || (discards && flags & (CL_MAP_READ | CL_MAP_WRITE) != 0) {
        return Err(code(CL_INVALID_VALUE));
    }
    let object = object(weir, buffer, kind::CL_MEM)?;
    let (whole, host) = with_buffer(object, |buffer| (buffer.size, buffer.host.0))?;
    let fits = offset.checked_add(size).is_some_and(|end| end <= whole);
    if size == 0 || !fits {
        return Err(code(CL_INVALID_VALUE));
    }

    let (address, region, data) = if host.is_null() {
        let region = weir.allocate(size.max(ALIGNMENT) as u64);
        let region = Arc::new(region.map_err(|error| match error {
            lost if lost == weir.lost() => lost,
            _ => code(CL_MAP_FAILURE),
        })?);
        let address = weir.address(&region);
        let data = Bulk::region(weir, Arc::clone(&region));
        (address, Some(region), data)
    } else {
        let address = host.wrapping_add(offset);
        (address, None, Bulk::line(address.cast()))
    };
    enqueue(data)?;
    with_buffer(object, |buffer| {
        buffer.maps.push(Map {
            address: address.addr(),
            offset,
            size,
            writable: flags & !CL_MAP_READ != 0,
            region,
        });
    })?;
    Ok(address.cast())
}

pub unsafe extern "C" fn clEnqueueUnmapMemObject(
    command_queue: cl_command_queue,
    memobj: cl_mem,
    mapped_ptr: *mut c_void,
    num_events_in_wait_list: cl_uint,
    event_wait_list: *const cl_event,
    event: *mut cl_event,
) -> cl_int {
    // SAFETY: the program answers for its pointers.
    status(unsafe {
        LIBRARY.current().and_then(|weir| {
            unmap(weir, memobj, mapped_ptr, |offset, size, data| {
                encode::clEnqueueUnmapMemObject(
                    command_queue,
                    memobj,
                    num_events_in_wait_list,
                    event_wait_list,
                    event,
                    offset,
                    size,
                    data,
                    false,
                )
            })
        })
    })
}

fn unmap(
    weir: &'static Connection,
    buffer: cl_mem,
    mapped: *mut c_void,
    enqueue: impl FnOnce(usize, usize, Bulk) -> Result<(), Code>,
) -> Result<(), Code> {
    let object = object(weir, buffer, kind::CL_MEM)?;
    let is_it = |map: &Map| map.address == mapped.addr();
    let map = with_buffer(object, |buffer| {
        buffer.maps.iter().find(|m| is_it(m)).cloned()
    })?;
    let map = map.ok_or(code(CL_INVALID_VALUE))?;

    let nothing = (0, 0, Bulk::line(std::ptr::null()));
    let (offset, size, data) = match map.region {
        _ if !map.writable => nothing,
        Some(region) => (map.offset, map.size, Bulk::region(weir, region)),
        None => (map.offset, map.size, Bulk::line(mapped)),
    };
    enqueue(offset, size, data)?;
    with_buffer(object, |buffer| {
        if let Some(index) = buffer.maps.iter().position(is_it) {
            buffer.maps.swap_remove(index);
        }
    })
}

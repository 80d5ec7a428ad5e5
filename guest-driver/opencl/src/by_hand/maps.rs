//! Mapping memory objects: a part of one in memory that the program sees, for a while.
//!
//! The device reads and writes the arena, and the program gets the arena's own address: nothing is
//! copied in between. Only an object that is to use the program's memory is copied to and from there.

use std::ffi::c_void;
use std::sync::Arc;

use weir_guest::Code;
use weir_guest::call::Bulk;
use weir_guest::connection::Connection;
use weir_guest::memory::Region;
use weir_guest::objects::Object;

use super::buffers::{Buffer, ELEMENT, Map, image_number, with_buffer};
use super::{LIBRARY, code, object, pointer, status};
use crate::generated::{
    CL_IMAGE_HEIGHT, CL_IMAGE_WIDTH, CL_INVALID_MEM_OBJECT, CL_INVALID_OPERATION, CL_INVALID_VALUE,
    CL_MAP_FAILURE, CL_MAP_READ, CL_MAP_WRITE, CL_MAP_WRITE_INVALIDATE_REGION,
    CL_MEM_OBJECT_IMAGE1D_ARRAY, CL_MEM_OBJECT_IMAGE2D_ARRAY, CL_MEM_OBJECT_IMAGE3D, cl_bool,
    cl_command_queue, cl_event, cl_int, cl_map_flags, cl_mem, cl_uint, encode, kind,
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
            map_buffer(weir, buffer, map_flags, offset, cb, |data| {
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
                )
            })
        });
        pointer(mapped, errcode_ret)
    }
}

fn check_flags(flags: cl_map_flags) -> Result<(), Code> {
    let known = CL_MAP_READ | CL_MAP_WRITE | CL_MAP_WRITE_INVALIDATE_REGION;
    let discards = flags & CL_MAP_WRITE_INVALIDATE_REGION != 0;
    match flags & !known != 0 || (discards && flags & (CL_MAP_READ | CL_MAP_WRITE) != 0) {
        true => Err(code(CL_INVALID_VALUE)),
        false => Ok(()),
    }
}

/// Arena memory for a mapping.
fn allocate(weir: &'static Connection, len: usize) -> Result<Arc<Region>, Code> {
    let region = weir.allocate(len.max(ALIGNMENT) as u64);
    let region = region.map_err(|error| match error {
        lost if lost == weir.lost() => lost,
        _ => code(CL_MAP_FAILURE),
    })?;
    Ok(Arc::new(region))
}

fn map_buffer(
    weir: &'static Connection,
    buffer: cl_mem,
    flags: cl_map_flags,
    offset: usize,
    size: usize,
    enqueue: impl FnOnce(Bulk) -> Result<(), Code>,
) -> Result<*mut c_void, Code> {
    check_flags(flags)?;
    let object = object(weir, buffer, kind::CL_MEM)?;
    let (whole, host) = with_buffer(object, |buffer| (buffer.size, buffer.host.0))?;
    let fits = offset.checked_add(size).is_some_and(|end| end <= whole);
    if size == 0 || !fits {
        return Err(code(CL_INVALID_VALUE));
    }

    let (address, region, data) = if host.is_null() {
        let region = allocate(weir, size)?;
        let data = Bulk::region(weir, Arc::clone(&region));
        (weir.address(&region), Some(region), data)
    } else {
        let address = host.wrapping_add(offset);
        (address, None, Bulk::line(address.cast()))
    };
    enqueue(data)?;
    let map = Map {
        address: address.addr(),
        origin: [offset, 0, 0],
        extent: [size, 1, 1],
        writable: flags & !CL_MAP_READ != 0,
        region,
    };
    with_buffer(object, |buffer| buffer.maps.push(map))?;
    Ok(address.cast())
}

pub unsafe extern "C" fn clEnqueueMapImage(
    command_queue: cl_command_queue,
    image: cl_mem,
    blocking_map: cl_bool,
    map_flags: cl_map_flags,
    origin: *const usize,
    region: *const usize,
    image_row_pitch: *mut usize,
    image_slice_pitch: *mut usize,
    num_events_in_wait_list: cl_uint,
    event_wait_list: *const cl_event,
    event: *mut cl_event,
    errcode_ret: *mut cl_int,
) -> *mut c_void {
    // SAFETY: the program answers for its pointers.
    unsafe {
        let mapped = map_image(
            image,
            map_flags,
            (origin, region),
            (image_row_pitch, image_slice_pitch),
            |data| {
                encode::clEnqueueMapImage(
                    command_queue,
                    image,
                    blocking_map,
                    map_flags,
                    origin,
                    region,
                    num_events_in_wait_list,
                    event_wait_list,
                    event,
                    data,
                )
            },
        );
        pointer(mapped, errcode_ret)
    }
}

/// How a part of an image lies in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Layout {
    /// Bytes of a row, rows and slices.
    extent: [u64; 3],
    /// Bytes from one row to the next and from one slice to the next; the latter is 0 if there are
    /// no slices.
    pitches: [u64; 2],
    /// The first byte's column, row and slice.
    origin: [usize; 3],
}

impl Layout {
    /// Of a part of an image that is a `buffer` with elements of so many bytes, in its own memory or
    /// in memory where nothing is between its rows. `None` if there is no such part.
    fn new(
        buffer: &Buffer,
        (element, width, height): (usize, usize, usize),
        [x, y, z]: [usize; 3],
        [columns, rows, slices]: [usize; 3],
    ) -> Option<Layout> {
        let is_lines = buffer.kind == CL_MEM_OBJECT_IMAGE1D_ARRAY;
        let (y, z, rows, slices) = match is_lines {
            true => (0, y, 1, rows.checked_mul(slices)?),
            false => (y, z, rows, slices),
        };
        let row = columns.checked_mul(element)?;
        row.checked_mul(rows)?.checked_mul(slices)?;
        let has_slices =
            is_lines || [CL_MEM_OBJECT_IMAGE3D, CL_MEM_OBJECT_IMAGE2D_ARRAY].contains(&buffer.kind);
        let (whole_row, whole_rows) = match buffer.host.0.is_null() {
            true => (row, rows),
            false => (
                width.checked_mul(element)?,
                if is_lines { 1 } else { height },
            ),
        };
        let given = |index: usize, tight: u64| match buffer.pitches[index] {
            0 => tight,
            pitch => pitch,
        };
        let row_pitch = given(0, whole_row as u64);
        let slice_pitch = given(1, row_pitch.checked_mul(whole_rows as u64)?);
        Some(Layout {
            extent: [row as u64, rows as u64, slices as u64],
            pitches: [row_pitch, if has_slices { slice_pitch } else { 0 }],
            origin: [x.checked_mul(element)?, y, z],
        })
    }

    fn of(image: &Object, origin: [usize; 3], extent: [usize; 3]) -> Result<Layout, Code> {
        let element = (image.kept() & ELEMENT) as usize;
        match element as u64 {
            0 => return Err(code(CL_INVALID_MEM_OBJECT)),
            // (How much memory its elements take is not known.)
            ELEMENT => return Err(code(CL_INVALID_OPERATION)),
            _ => {}
        }
        let (width, height) = match with_buffer(image, |buffer| buffer.host.0.is_null())? {
            true => (0, 0),
            false => (
                image_number(image, CL_IMAGE_WIDTH)?,
                image_number(image, CL_IMAGE_HEIGHT)?,
            ),
        };
        let size = (element, width, height);
        let layout = with_buffer(image, |buffer| Layout::new(buffer, size, origin, extent))?;
        layout.ok_or(code(CL_INVALID_VALUE))
    }

    /// The part in the program's memory that begins at `host`.
    fn bulk(&self, host: *const u8) -> Result<Bulk, Code> {
        // SAFETY: the origin is an array of three numbers.
        let bulk = unsafe { Bulk::rows(host.cast(), self.extent, self.pitches, &self.origin) };
        bulk.ok_or(code(CL_INVALID_VALUE))
    }
}

/// # Safety
/// All pointers must be null or valid, for three numbers and for one.
unsafe fn map_image(
    image: cl_mem,
    flags: cl_map_flags,
    (origin, extent): (*const usize, *const usize),
    (row_pitch, slice_pitch): (*mut usize, *mut usize),
    enqueue: impl FnOnce(Bulk) -> Result<(), Code>,
) -> Result<*mut c_void, Code> {
    let weir = LIBRARY.current()?;
    let object = object(weir, image, kind::CL_MEM)?;
    check_flags(flags)?;
    if origin.is_null() || extent.is_null() || row_pitch.is_null() {
        return Err(code(CL_INVALID_VALUE));
    }
    // SAFETY: so the caller says.
    let (origin, extent): ([usize; 3], [usize; 3]) = unsafe {
        (
            origin.cast::<[usize; 3]>().read(),
            extent.cast::<[usize; 3]>().read(),
        )
    };
    let layout = Layout::of(object, origin, extent)?;
    let [row, slice] = layout.pitches;
    if extent.contains(&0) || (slice != 0 && slice_pitch.is_null()) {
        return Err(code(CL_INVALID_VALUE));
    }
    let host = with_buffer(object, |buffer| buffer.host.0)?;
    let (address, region, data) = if host.is_null() {
        let region = allocate(weir, layout.extent.iter().product::<u64>() as usize)?;
        let data = Bulk::region(weir, Arc::clone(&region));
        (weir.address(&region), Some(region), data)
    } else {
        let data = layout.bulk(host)?;
        (data.address().cast_mut().cast(), None, data)
    };
    enqueue(data)?;
    let map = Map {
        address: address.addr(),
        origin,
        extent,
        writable: flags & !CL_MAP_READ != 0,
        region,
    };
    with_buffer(object, |buffer| buffer.maps.push(map))?;
    // SAFETY: as the caller says.
    unsafe {
        row_pitch.write(row as usize);
        if !slice_pitch.is_null() {
            slice_pitch.write(slice as usize);
        }
    }
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
            unmap(weir, memobj, mapped_ptr, |origin, extent, data| {
                encode::clEnqueueUnmapMemObject(
                    command_queue,
                    memobj,
                    num_events_in_wait_list,
                    event_wait_list,
                    event,
                    origin.as_ptr(),
                    extent.as_ptr(),
                    data,
                    false,
                )
            })
        })
    })
}

fn unmap(
    weir: &'static Connection,
    memory: cl_mem,
    mapped: *mut c_void,
    enqueue: impl FnOnce([usize; 3], [usize; 3], Bulk) -> Result<(), Code>,
) -> Result<(), Code> {
    let object = object(weir, memory, kind::CL_MEM)?;
    let is_it = |map: &Map| map.address == mapped.addr();
    let (map, host) = with_buffer(object, |buffer| {
        let map = buffer.maps.iter().find(|m| is_it(m)).cloned();
        (map, buffer.host.0)
    })?;
    let map = map.ok_or(code(CL_INVALID_VALUE))?;

    let data = match map.region {
        _ if !map.writable => Bulk::line(std::ptr::null()),
        Some(region) => Bulk::region(weir, region),
        None if object.kept() & ELEMENT == 0 => Bulk::line(mapped),
        None => Layout::of(object, map.origin, map.extent)?.bulk(host)?,
    };
    enqueue(map.origin, map.extent, data)?;
    with_buffer(object, |buffer| {
        if let Some(index) = buffer.maps.iter().position(is_it) {
            buffer.maps.swap_remove(index);
        }
    })
}

#[cfg(test)]
mod tests {
    use super::super::buffers::HostMemory;
    use super::*;
    use crate::generated::CL_MEM_OBJECT_IMAGE2D;

    fn memory(kind: cl_uint, host: usize, pitches: [u64; 2]) -> Buffer {
        Buffer {
            kind,
            size: 0,
            host: HostMemory(std::ptr::without_provenance_mut(host)),
            pitches,
            maps: Vec::new(),
        }
    }

    fn layout(of: &Buffer, origin: [usize; 3], extent: [usize; 3]) -> Layout {
        Layout::new(of, (4, 100, 50), origin, extent).unwrap()
    }

    #[test]
    fn arena_memory_has_nothing_between_rows() {
        let flat = layout(
            &memory(CL_MEM_OBJECT_IMAGE2D, 0, [0; 2]),
            [1, 2, 0],
            [8, 3, 1],
        );
        assert_eq!((flat.extent, flat.pitches), ([32, 3, 1], [32, 0]));
        let solid = layout(&memory(CL_MEM_OBJECT_IMAGE3D, 0, [0; 2]), [0; 3], [8, 3, 2]);
        assert_eq!((solid.extent, solid.pitches), ([32, 3, 2], [32, 96]));
        let lines = layout(
            &memory(CL_MEM_OBJECT_IMAGE1D_ARRAY, 0, [0; 2]),
            [0, 5, 0],
            [8, 3, 1],
        );
        assert_eq!((lines.extent, lines.pitches), ([32, 1, 3], [32, 32]));
        assert_eq!(lines.origin, [0, 0, 5]);
    }

    #[test]
    fn the_program_s_memory_has_its_own_pitches() {
        let flat = layout(
            &memory(CL_MEM_OBJECT_IMAGE2D, 64, [512, 0]),
            [1, 2, 0],
            [8, 3, 1],
        );
        assert_eq!((flat.pitches, flat.origin), ([512, 0], [4, 2, 0]));
        let solid = layout(
            &memory(CL_MEM_OBJECT_IMAGE3D, 64, [0; 2]),
            [0; 3],
            [8, 3, 2],
        );
        assert_eq!(solid.pitches, [400, 20_000]);
    }

    #[test]
    fn parts_that_cannot_be_are_refused() {
        let flat = memory(CL_MEM_OBJECT_IMAGE2D, 0, [0; 2]);
        let most = usize::MAX;
        assert_eq!(Layout::new(&flat, (4, 1, 1), [0; 3], [most, 1, 1]), None);
        assert_eq!(Layout::new(&flat, (1, 1, 1), [0; 3], [most, 2, 1]), None);
    }
}

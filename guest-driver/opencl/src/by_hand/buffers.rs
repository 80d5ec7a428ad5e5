//! Memory objects: what the guest keeps of them.
//!
//! The host cannot work in a guest program's memory. An object that is to use the program's memory is
//! therefore one that begins as its copy; mapping it copies to and from the program's memory, which
//! is all that OpenCL promises. What a program can ask about it is answered as if it were the memory
//! itself.

use std::ffi::c_void;
use std::sync::Arc;

use weir_guest::Code;
use weir_guest::memory::Region;
use weir_guest::objects::{Lent, Object};

use super::{LIBRARY, answer, code, object, status};
use crate::generated::{
    CL_IMAGE_ROW_PITCH, CL_INVALID_VALUE, CL_MEM_ASSOCIATED_MEMOBJECT, CL_MEM_COPY_HOST_PTR,
    CL_MEM_FLAGS, CL_MEM_HOST_PTR, CL_MEM_MAP_COUNT, CL_MEM_OFFSET, CL_MEM_SIZE, CL_MEM_TYPE,
    CL_MEM_USE_HOST_PTR, cl_int, cl_mem, cl_mem_flags, cl_mem_info, cl_mem_object_type, cl_uint,
    encode, kind,
};

/// Bits of what is kept with an image that are the bytes of an element; of a buffer, they are 0.
pub const ELEMENT: u64 = 31;

/// What the guest knows of a buffer or an image.
#[derive(Debug)]
pub struct Buffer {
    /// What it is.
    pub kind: cl_mem_object_type,
    /// Bytes.
    pub size: usize,
    /// The program's memory that it is to use, or null.
    pub host: HostMemory,
    /// Bytes from one row to the next and from one slice to the next there; 0: nothing is between
    /// them.
    pub pitches: [u64; 2],
    /// Its mapped parts.
    pub maps: Vec<Map>,
}

/// A place in the program's memory.
#[derive(Clone, Copy, Debug)]
pub struct HostMemory(pub *mut u8);

// SAFETY: the program has promised that it stays valid as long as the object, from any thread.
unsafe impl Send for HostMemory {}

/// A mapped part of a memory object.
#[derive(Clone, Debug)]
pub struct Map {
    /// Where the program sees it.
    pub address: usize,
    /// Where it begins: a byte of a buffer, or column, row and slice of an image.
    pub origin: [usize; 3],
    /// How much of it there is, in the same units.
    pub extent: [usize; 3],
    /// Whether the program may write it.
    pub writable: bool,
    /// The arena memory that it lies in; `None` if it lies in the program's own.
    pub region: Option<Arc<Region>>,
}

/// Does something with what is known of a memory object; finds it out first if it is not known yet.
pub fn with_buffer<T>(object: &Object, f: impl FnOnce(&mut Buffer) -> T) -> Result<T, Code> {
    let (known, lent) = match &*object.extra() {
        None => (false, None),
        Some(extra) => (extra.is::<Buffer>(), extra.downcast_ref::<Lent>().copied()),
    };
    if !known {
        let found = look_up(object, lent)?;
        let mut extra = object.extra();
        if !extra.as_ref().is_some_and(|extra| extra.is::<Buffer>()) {
            *extra = Some(Box::new(found));
        }
    }
    let mut extra = object.extra();
    let buffer = extra.as_mut().and_then(|extra| extra.downcast_mut());
    buffer.map(f).ok_or(code(CL_INVALID_VALUE))
}

fn look_up(object: &Object, lent: Option<Lent>) -> Result<Buffer, Code> {
    let (host, pitches) = match lent {
        Some(lent) => (lent.address.cast_mut().cast(), lent.pitches),
        None => part_of(object)?,
    };
    Ok(Buffer {
        kind: ask(object, CL_MEM_TYPE)? as cl_mem_object_type,
        size: ask(object, CL_MEM_SIZE)?,
        host: HostMemory(host),
        pitches,
        maps: Vec::new(),
    })
}

/// The program's memory of an object that is a part of another, and its pitches.
fn part_of(part: &Object) -> Result<(*mut u8, [u64; 2]), Code> {
    let whole = ask(part, CL_MEM_ASSOCIATED_MEMOBJECT)?;
    let whole = std::ptr::with_exposed_provenance(whole);
    let Some(whole) = LIBRARY.current()?.objects.find(whole, kind::CL_MEM) else {
        return Ok((std::ptr::null_mut(), [0; 2]));
    };
    let base = with_buffer(whole, |buffer| buffer.host.0)?;
    if base.is_null() {
        return Ok((base, [0; 2]));
    }
    let row_pitch = match part.kept() & ELEMENT {
        0 => 0,
        _ => image_number(part, CL_IMAGE_ROW_PITCH)?,
    };
    let base = base.wrapping_add(ask(part, CL_MEM_OFFSET)?);
    Ok((base, [row_pitch as u64, 0]))
}

/// Asks the host for a number that only images have.
pub fn image_number(object: &Object, query: cl_uint) -> Result<usize, Code> {
    let (mut value, mut size) = (0_usize, 0);
    // SAFETY: both pointers are to variables of this function, with room for as much as is asked.
    unsafe {
        let value = (&raw mut value).cast();
        encode::clGetImageInfo(object.address(), query, 8, value, &mut size)?;
    }
    Ok(value)
}

/// Asks the host for a number or a handle.
fn ask(object: &Object, query: cl_mem_info) -> Result<usize, Code> {
    let mut value = 0_usize;
    let mut size = 0;
    // SAFETY: both pointers are to variables of this function, with room for as much as is asked.
    unsafe {
        let value = (&raw mut value).cast();
        encode::clGetMemObjectInfo(object.address(), query, 8, value, &mut size)?;
    }
    Ok(value)
}

pub unsafe extern "C" fn clGetMemObjectInfo(
    memobj: cl_mem,
    param_name: cl_mem_info,
    param_value_size: usize,
    param_value: *mut c_void,
    param_value_size_ret: *mut usize,
) -> cl_int {
    // SAFETY: the program answers for its pointers.
    status(unsafe {
        info(
            memobj,
            param_name,
            param_value_size,
            param_value,
            param_value_size_ret,
        )
    })
}

/// # Safety
/// As for [`answer`].
unsafe fn info(
    memobj: cl_mem,
    query: cl_mem_info,
    size: usize,
    value: *mut c_void,
    size_ret: *mut usize,
) -> Result<(), Code> {
    let object = object(LIBRARY.current()?, memobj, kind::CL_MEM)?;
    // SAFETY: the caller answers for the pointers.
    unsafe {
        match query {
            CL_MEM_HOST_PTR => {
                let host = with_buffer(object, |buffer| buffer.host.0)?;
                answer(host, size, value, size_ret)
            }
            CL_MEM_MAP_COUNT => {
                let count = with_buffer(object, |buffer| buffer.maps.len())?;
                answer(count as cl_uint, size, value, size_ret)
            }
            CL_MEM_FLAGS if !with_buffer(object, |buffer| buffer.host.0)?.is_null() => {
                let sent = ask(object, CL_MEM_FLAGS)? as cl_mem_flags;
                let flags = sent & !CL_MEM_COPY_HOST_PTR | CL_MEM_USE_HOST_PTR;
                answer(flags, size, value, size_ret)
            }
            _ => encode::clGetMemObjectInfo(memobj, query, size, value, size_ret),
        }
    }
}

//! Single answers that differ from the vendor's.

use std::ptr::null_mut;

use weir_runtime::turn::{Made, Refused, Turn};

use super::answer::{Place, ask, give, made, unsupported};
use super::generated::{Vendor, calls, words};
use crate::table::{constants::*, kinds};

/// `clGetMemObjectInfo`: host pointers are the guest library's affair, and the worker's own are
/// nobody's.
pub(super) fn get_mem_object_info(vendor: &Vendor, turn: &mut Turn<'_>) -> Made {
    use words::clGetMemObjectInfo as at;
    match turn.call.word(at::param_name) as u32 {
        CL_MEM_HOST_PTR => {}
        CL_MEM_TYPE..=CL_MEM_PROPERTIES => return calls::clGetMemObjectInfo(vendor, turn),
        // Extensions that are not carried; Intel's answers with the memory's address in this process.
        _ => {
            turn.handle(at::memobj, kinds::CL_MEM)?;
            return made(CL_INVALID_VALUE);
        }
    }
    turn.handle(at::memobj, kinds::CL_MEM)?;
    let place = Place {
        value: at::param_value,
        size: at::param_value_size_ret,
    };
    give(turn, place, &0u64.to_le_bytes())
}

/// `clGetProgramInfo`. The vendor writes binaries through an array of pointers; here the one
/// device's binary is the answer.
pub(super) fn get_program_info(vendor: &Vendor, turn: &mut Turn<'_>) -> Made {
    use words::clGetProgramInfo as at;
    if turn.call.word(at::param_name) as u32 != CL_PROGRAM_BINARIES {
        return calls::clGetProgramInfo(vendor, turn);
    }
    let program = turn.handle(at::program, kinds::CL_PROGRAM)?;
    let get = vendor.clGetProgramInfo.ok_or(unsupported())?;
    // SAFETY: the program is this client's, and `ask` gives room for what it asks for.
    let sizes = ask(&|size, value, size_ret| unsafe {
        get(program, CL_PROGRAM_BINARY_SIZES, size, value, size_ret)
    });
    let sizes = sizes.map_err(|code| Refused(code.into()))?;
    // A client sees one device, so its programs have one binary.
    let [size] = sizes.as_chunks::<8>().0 else {
        return made(CL_INVALID_VALUE);
    };
    let mut binary = vec![0u8; usize::from_le_bytes(*size)];
    let mut pointers = [binary.as_mut_ptr()];
    // SAFETY: there is one pointer, to as many bytes as the binary has.
    let error = unsafe {
        get(
            program,
            CL_PROGRAM_BINARIES,
            size_of_val(&pointers),
            pointers.as_mut_ptr().cast(),
            null_mut(),
        )
    };
    if error != CL_SUCCESS {
        return made(error);
    }
    let place = Place {
        value: at::param_value,
        size: at::param_value_size_ret,
    };
    give(turn, place, &binary)
}

/// `clGetEventInfo`: the events of maps and unmaps say what the program did, not what was done.
pub(super) fn get_event_info(vendor: &Vendor, turn: &mut Turn<'_>) -> Made {
    use words::clGetEventInfo as at;
    let (_, note) = turn.handle_and_note(at::event, kinds::CL_EVENT)?;
    if turn.call.word(at::param_name) as u32 != CL_EVENT_COMMAND_TYPE || note == 0 {
        return calls::clGetEventInfo(vendor, turn);
    }
    let place = Place {
        value: at::param_value,
        size: at::param_value_size_ret,
    };
    give(turn, place, &(note as u32).to_le_bytes())
}

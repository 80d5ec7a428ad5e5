//! Command queues. The vendor's always take times, since device time is what is charged; what the
//! program wished is remembered, and is what it is told.

use std::collections::HashMap;
use std::ffi::c_void;
use std::ptr::null_mut;
use std::sync::{Mutex, PoisonError};

use weir_runtime::objects::UNORDERED;
use weir_runtime::turn::{Answer, Made, Refused, Turn};

use super::answer::{Place, ask_number, give, made, unsupported};
use super::generated::{Vendor, calls, words};
use crate::table::{constants::*, kinds};

const PROPERTIES: u64 = CL_QUEUE_PROPERTIES as u64;

/// What the program asked for when it made a queue.
#[derive(Clone, Default)]
struct Wish {
    /// `CL_QUEUE_PROPERTIES`.
    properties: u64,
    /// The whole list, if it gave one.
    list: Vec<u64>,
}

/// Wishes, by the vendor's pointer to the queue.
#[derive(Default)]
pub(super) struct Queues(Mutex<HashMap<usize, Wish>>);

impl Queues {
    fn put(&self, queue: *mut c_void, wish: Wish) {
        let mut wishes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        wishes.insert(queue as usize, wish);
    }

    fn get(&self, queue: *mut c_void) -> Wish {
        let wishes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        wishes.get(&(queue as usize)).cloned().unwrap_or_default()
    }

    /// A queue was to be made; ends the call.
    fn created(
        &self,
        turn: &mut Turn<'_>,
        word: usize,
        (queue, error): (*mut c_void, i32),
        wish: Wish,
    ) -> Made {
        if error != CL_SUCCESS || queue.is_null() {
            turn.bind(word, kinds::CL_COMMAND_QUEUE, null_mut(), 0, true);
            return Ok(Answer { value: 0, error });
        }
        let note = match wish.properties & CL_QUEUE_OUT_OF_ORDER_EXEC_MODE_ENABLE {
            0 => 0,
            _ => UNORDERED,
        };
        self.put(queue, wish);
        turn.bind(word, kinds::CL_COMMAND_QUEUE, queue, note, true);
        Ok(Answer {
            value: turn.call.word(word),
            error,
        })
    }
}

/// `clCreateCommandQueue`.
pub(super) fn create(queues: &Queues, vendor: &Vendor, turn: &mut Turn<'_>) -> Made {
    use words::clCreateCommandQueue as at;
    let function = vendor.clCreateCommandQueue.ok_or(unsupported())?;
    let context = turn.handle(at::context, kinds::CL_CONTEXT)?;
    let device = turn.handle(at::device, kinds::CL_DEVICE_ID)?;
    let properties = turn.call.word(at::properties);
    let mut error = CL_SUCCESS;
    let with_times = properties | CL_QUEUE_PROFILING_ENABLE;
    // SAFETY: context and device are this client's, and the error has its place.
    let queue = unsafe { function(context, device, with_times, &mut error) };
    let wish = Wish {
        properties,
        list: Vec::new(),
    };
    queues.created(turn, at::new, (queue, error), wish)
}

/// `clCreateCommandQueueWithProperties`.
pub(super) fn create_with_properties(
    queues: &Queues,
    vendor: &Vendor,
    turn: &mut Turn<'_>,
) -> Made {
    use words::clCreateCommandQueueWithProperties as at;
    let extensions = vendor.extensions.get();
    let function = extensions
        .and_then(|all| all.clCreateCommandQueueWithPropertiesKHR)
        .or(vendor.clCreateCommandQueueWithProperties)
        .ok_or(unsupported())?;
    let context = turn.handle(at::context, kinds::CL_CONTEXT)?;
    let device = turn.handle(at::device, kinds::CL_DEVICE_ID)?;
    let given = turn.properties(at::properties, &[])?;
    let count = match given.is_null() {
        true => 0,
        false => turn.len(at::properties) as usize / 8,
    };
    // SAFETY: `properties` gave as many words as the reference says, and a pointer to them.
    let list = (0..count).map(|index| unsafe { given.add(index).read() });
    let list: Vec<u64> = list.collect();
    let (with_times, properties) = add_profiling(&list);
    let mut error = CL_SUCCESS;
    // SAFETY: context and device are this client's, the list ends with zero, the error has its place.
    let queue = unsafe { function(context, device, with_times.as_ptr(), &mut error) };
    queues.created(turn, at::new, (queue, error), Wish { properties, list })
}

/// A list of queue properties with profiling enabled, and the `CL_QUEUE_PROPERTIES` it had before.
fn add_profiling(list: &[u64]) -> (Vec<u64>, u64) {
    let mut with_times = Vec::new();
    let mut properties = 0;
    for pair in list.chunks_exact(2) {
        match pair[0] {
            PROPERTIES => properties = pair[1],
            _ => with_times.extend_from_slice(pair),
        }
    }
    with_times.extend([PROPERTIES, properties | CL_QUEUE_PROFILING_ENABLE, 0]);
    (with_times, properties)
}

/// `clGetCommandQueueInfo`.
pub(super) fn get_info(queues: &Queues, vendor: &Vendor, turn: &mut Turn<'_>) -> Made {
    use words::clGetCommandQueueInfo as at;
    let queue = turn.handle(at::command_queue, kinds::CL_COMMAND_QUEUE)?;
    let place = Place {
        value: at::param_value,
        size: at::param_value_size_ret,
    };
    match turn.call.word(at::param_name) as u32 {
        CL_QUEUE_PROPERTIES => give(turn, place, &queues.get(queue).properties.to_le_bytes()),
        CL_QUEUE_PROPERTIES_ARRAY => {
            let list = queues.get(queue).list;
            let bytes: Vec<u8> = list.iter().flat_map(|word| word.to_le_bytes()).collect();
            give(turn, place, &bytes)
        }
        _ => calls::clGetCommandQueueInfo(vendor, turn),
    }
}

/// `clGetEventProfilingInfo`: times are there only if the program wished for them.
pub(super) fn get_event_profiling_info(
    queues: &Queues,
    vendor: &Vendor,
    turn: &mut Turn<'_>,
) -> Made {
    use words::clGetEventProfilingInfo as at;
    let event = turn.handle(at::event, kinds::CL_EVENT)?;
    let get = vendor.clGetEventInfo.ok_or(unsupported())?;
    // SAFETY: the event is this client's, and `ask_number` gives room for what it asks for.
    let queue = ask_number(&|size, value, size_ret| unsafe {
        get(event, CL_EVENT_COMMAND_QUEUE, size, value, size_ret)
    });
    let queue = queue.map_err(|code| Refused(code.into()))?;
    let queue = std::ptr::with_exposed_provenance_mut::<c_void>(queue as usize);
    match queues.get(queue).properties & CL_QUEUE_PROFILING_ENABLE {
        0 => made(CL_PROFILING_INFO_NOT_AVAILABLE),
        _ => calls::clGetEventProfilingInfo(vendor, turn),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn profiling_is_added_to_what_the_program_wished() {
        const OUT_OF_ORDER: u64 = CL_QUEUE_OUT_OF_ORDER_EXEC_MODE_ENABLE;
        const TIMES: u64 = CL_QUEUE_PROFILING_ENABLE;
        assert_eq!(add_profiling(&[]), (vec![PROPERTIES, TIMES, 0], 0));
        assert_eq!(
            add_profiling(&[77, 5, PROPERTIES, OUT_OF_ORDER, 0]),
            (
                vec![77, 5, PROPERTIES, OUT_OF_ORDER | TIMES, 0],
                OUT_OF_ORDER
            )
        );
    }
}

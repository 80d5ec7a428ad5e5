//! Maps and unmaps. The program's mapped memory is a piece of its arena: a map reads the device's
//! memory into it, an unmap writes it back if it was mapped for writing.

use std::ffi::c_void;
use std::ptr::null_mut;

use weir_runtime::turn::{Answer, Made, Refused, Turn};

use super::answer::{ask_number, unsupported};
use super::generated::{Vendor, words};
use crate::table::{constants::*, kinds};

/// What every command has.
struct Command {
    queue: *mut c_void,
    /// The queue's note.
    note: u64,
    buffer: *mut c_void,
    offset: usize,
    size: usize,
    wait_count: u32,
    wait_list: *const *mut c_void,
}

impl Command {
    /// Has the command wait for its gate too, if it has one. `word` is that of the wait list.
    fn gate(&mut self, turn: &mut Turn<'_>, word: usize) -> Result<(), Refused> {
        if let Some((count, list)) = turn.gate(word, self.wait_list, self.queue)? {
            (self.wait_count, self.wait_list) = (count, list);
        }
        Ok(())
    }

    /// Reads buffer memory into `to`.
    fn read(
        &self,
        vendor: &Vendor,
        blocking: u32,
        to: *mut c_void,
    ) -> Result<(*mut c_void, i32), i32> {
        let function = vendor.clEnqueueReadBuffer.ok_or(CL_INVALID_OPERATION)?;
        let mut event = null_mut();
        // SAFETY: queue, buffer and events are this client's; `to` has `size` bytes, in the arena.
        let error = unsafe {
            function(
                self.queue,
                self.buffer,
                blocking,
                self.offset,
                self.size,
                to,
                self.wait_count,
                self.wait_list,
                &mut event,
            )
        };
        Ok((event, error))
    }

    /// Writes `from` to buffer memory, some time after the call.
    fn write(&self, vendor: &Vendor, from: *const c_void) -> Result<(*mut c_void, i32), i32> {
        let function = vendor.clEnqueueWriteBuffer.ok_or(CL_INVALID_OPERATION)?;
        let mut event = null_mut();
        // SAFETY: as in `read`; the arena is mapped for as long as this process lives.
        let error = unsafe {
            function(
                self.queue,
                self.buffer,
                CL_FALSE,
                self.offset,
                self.size,
                from,
                self.wait_count,
                self.wait_list,
                &mut event,
            )
        };
        Ok((event, error))
    }

    /// Does nothing, in the command's place.
    fn pass(&self, vendor: &Vendor) -> Result<(*mut c_void, i32), i32> {
        let function = vendor
            .clEnqueueMarkerWithWaitList
            .ok_or(CL_INVALID_OPERATION)?;
        let mut event = null_mut();
        // SAFETY: queue and events are this client's.
        let error = unsafe { function(self.queue, self.wait_count, self.wait_list, &mut event) };
        Ok((event, error))
    }

    /// Whether the part of the buffer exists.
    fn is_inside(&self, vendor: &Vendor) -> bool {
        let Some(get) = vendor.clGetMemObjectInfo else {
            return false;
        };
        // SAFETY: the buffer is this client's, and `ask_number` gives room for what it asks for.
        let size = ask_number(&|size, value, size_ret| unsafe {
            get(self.buffer, CL_MEM_SIZE, size, value, size_ret)
        });
        let end = self.offset.checked_add(self.size);
        end.is_some_and(|end| self.size > 0 && size.is_ok_and(|size| end as u64 <= size))
    }

    /// Ends a call that gave the device a command with `event`, which to the program is a command of
    /// type `kind`; `word` is that of the event which the program wants.
    fn given(
        &self,
        vendor: &Vendor,
        turn: &mut Turn<'_>,
        (event, error): (*mut c_void, i32),
        (kind, word, line): (u32, usize, usize),
    ) {
        let event = if error == CL_SUCCESS {
            event
        } else {
            null_mut()
        };
        turn.bind(word, kinds::CL_EVENT, event, kind.into(), false);
        if event.is_null() {
            return;
        }
        if turn.call.word(word) != 0
            && let Some(retain) = vendor.clRetainEvent
        {
            // SAFETY: the event is new; this makes one reference for the program and one for us.
            unsafe { retain(event) };
        }
        turn.track(event, line, self.note);
    }
}

/// `clEnqueueMapBuffer`.
pub(super) fn map_buffer(vendor: &Vendor, turn: &mut Turn<'_>) -> Made {
    use words::clEnqueueMapBuffer as at;
    turn.done_at(at::done);
    let (queue, note) = turn.handle_and_note(at::command_queue, kinds::CL_COMMAND_QUEUE)?;
    let mut command = Command {
        queue,
        note,
        buffer: turn.handle(at::buffer, kinds::CL_MEM)?,
        offset: turn.call.word(at::offset) as usize,
        size: turn.call.word(at::cb) as usize,
        wait_count: turn.call.word(at::num_events_in_wait_list) as u32,
        wait_list: turn.handles(at::event_wait_list, kinds::CL_EVENT)?,
    };
    let blocking = turn.call.word(at::blocking_map) as u32;
    let flags = turn.call.word(at::map_flags);
    let data = turn.output(at::data)?;
    command.gate(turn, at::event_wait_list)?;
    turn.begin();
    let made = if flags & CL_MAP_WRITE_INVALIDATE_REGION == 0 {
        command.read(vendor, blocking, data)
    } else if command.is_inside(vendor) {
        command
            .pass(vendor)
            .map(|made| wait(vendor, blocking, made))
    } else {
        Ok((null_mut(), CL_INVALID_VALUE))
    };
    let made = made.map_err(|_| unsupported())?;
    let what = (CL_COMMAND_MAP_BUFFER, at::event, at::command_queue);
    command.given(vendor, turn, made, what);
    Ok(Answer {
        value: u64::from(made.1 == CL_SUCCESS),
        error: made.1,
    })
}

/// Waits for a command, if `blocking`.
fn wait(vendor: &Vendor, blocking: u32, (event, error): (*mut c_void, i32)) -> (*mut c_void, i32) {
    match vendor.clWaitForEvents {
        Some(wait) if blocking != CL_FALSE && error == CL_SUCCESS => {
            // SAFETY: there is one event, and it is new.
            (event, unsafe { wait(1, &event) })
        }
        _ => (event, error),
    }
}

/// `clEnqueueUnmapMemObject`.
pub(super) fn unmap(vendor: &Vendor, turn: &mut Turn<'_>) -> Made {
    use words::clEnqueueUnmapMemObject as at;
    turn.done_at(at::done);
    let (queue, note) = turn.handle_and_note(at::command_queue, kinds::CL_COMMAND_QUEUE)?;
    let mut command = Command {
        queue,
        note,
        buffer: turn.handle(at::memobj, kinds::CL_MEM)?,
        offset: turn.call.word(at::offset) as usize,
        size: turn.call.word(at::size) as usize,
        wait_count: turn.call.word(at::num_events_in_wait_list) as u32,
        wait_list: turn.handles(at::event_wait_list, kinds::CL_EVENT)?,
    };
    let data = turn.bulk_input(at::data)?;
    command.gate(turn, at::event_wait_list)?;
    turn.begin();
    let made = match data.is_null() {
        true => command.pass(vendor),
        false => command.write(vendor, data),
    };
    let made = made.map_err(|_| unsupported())?;
    let what = (CL_COMMAND_UNMAP_MEM_OBJECT, at::event, at::command_queue);
    command.given(vendor, turn, made, what);
    super::answer::made(made.1)
}

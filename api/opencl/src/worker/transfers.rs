//! Maps and unmaps. The program's mapped memory is a piece of its arena: a map reads the device's
//! memory into it, an unmap writes it back if it was mapped for writing.

use std::ffi::c_void;
use std::ptr::null_mut;

use weir_runtime::turn::{Answer, Made, Refused, Turn};
use weir_wire::handle::Handle;

use super::answer::{ask_number, unsupported};
use super::generated::{Vendor, words};
use crate::table::{constants::*, kinds};

/// Bits of what is kept with an image, which are those of its element's size.
const IMAGE: u64 = 31;

/// What every command has.
struct Command {
    queue: *mut c_void,
    /// The queue's note.
    note: u64,
    memory: *mut c_void,
    part: Part,
    wait_count: u32,
    wait_list: *const *mut c_void,
}

/// The part of a memory object that a command is about.
#[derive(Clone, Copy)]
enum Part {
    /// Of a buffer: where it begins, and bytes.
    Bytes(usize, usize),
    /// Of an image: its first element and extent; null if the program said none.
    Elements(*const usize, *const usize),
}

impl Command {
    /// Has the command wait for its gate too, if it has one. `word` is that of the wait list.
    fn gate(&mut self, turn: &mut Turn<'_>, word: usize) -> Result<(), Refused> {
        // SAFETY: both are from this turn, as whoever made the command took them out of it.
        let gated = unsafe { turn.gate(word, (self.wait_count, self.wait_list), self.queue) }?;
        if let Some((count, list)) = gated {
            (self.wait_count, self.wait_list) = (count, list);
        }
        Ok(())
    }

    /// Reads the memory object into `to`.
    fn read(
        &self,
        vendor: &Vendor,
        blocking: u32,
        to: *mut c_void,
    ) -> Result<(*mut c_void, i32), i32> {
        let (queue, memory) = (self.queue, self.memory);
        let (count, list) = (self.wait_count, self.wait_list);
        let mut event = null_mut();
        let error = match self.part {
            Part::Bytes(offset, size) => {
                let read = vendor.clEnqueueReadBuffer.ok_or(CL_INVALID_OPERATION)?;
                // SAFETY: queue, buffer and events are this client's; `to` has `size` bytes, in the
                // arena.
                unsafe {
                    read(
                        queue, memory, blocking, offset, size, to, count, list, &mut event,
                    )
                }
            }
            Part::Elements(origin, region) => {
                let read = vendor.clEnqueueReadImage.ok_or(CL_INVALID_OPERATION)?;
                // SAFETY: as above; `to` has as many bytes as the elements of the region side by
                // side, for that is the length that the spec gives it.
                unsafe {
                    read(
                        queue, memory, blocking, origin, region, 0, 0, to, count, list, &mut event,
                    )
                }
            }
        };
        Ok((event, error))
    }

    /// Writes `from` to the memory object, some time after the call.
    fn write(&self, vendor: &Vendor, from: *const c_void) -> Result<(*mut c_void, i32), i32> {
        let (queue, memory) = (self.queue, self.memory);
        let (count, list) = (self.wait_count, self.wait_list);
        let mut event = null_mut();
        let error = match self.part {
            Part::Bytes(offset, size) => {
                let write = vendor.clEnqueueWriteBuffer.ok_or(CL_INVALID_OPERATION)?;
                // SAFETY: as in `read`; the arena is mapped for as long as this process lives.
                unsafe {
                    write(
                        queue, memory, CL_FALSE, offset, size, from, count, list, &mut event,
                    )
                }
            }
            Part::Elements(origin, region) => {
                let write = vendor.clEnqueueWriteImage.ok_or(CL_INVALID_OPERATION)?;
                // SAFETY: as above.
                unsafe {
                    write(
                        queue, memory, CL_FALSE, origin, region, 0, 0, from, count, list,
                        &mut event,
                    )
                }
            }
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

    /// Whether it is a part of a buffer that exists.
    fn is_inside_buffer(&self, vendor: &Vendor) -> bool {
        let (Part::Bytes(offset, size), Some(get)) = (self.part, vendor.clGetMemObjectInfo) else {
            return false;
        };
        // SAFETY: the buffer is this client's, and `ask_number` gives room for what it asks for.
        let whole = ask_number(&|room, value, room_ret| unsafe {
            get(self.memory, CL_MEM_SIZE, room, value, room_ret)
        });
        let end = offset.checked_add(size);
        end.is_some_and(|end| size > 0 && whole.is_ok_and(|whole| end as u64 <= whole))
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
        memory: turn.handle(at::buffer, kinds::CL_MEM)?,
        part: Part::Bytes(
            turn.call.word(at::offset) as usize,
            turn.call.word(at::cb) as usize,
        ),
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
    } else if command.is_inside_buffer(vendor) {
        command
            .pass(vendor)
            .map(|made| wait(vendor, blocking, made))
    } else {
        Ok((null_mut(), CL_INVALID_VALUE))
    };
    let made = made.map_err(|_| unsupported())?;
    let what = (CL_COMMAND_MAP_BUFFER, at::event, at::command_queue);
    command.given(vendor, turn, made, what);
    mapped(made.1)
}

/// `clEnqueueMapImage`. Also what is to be overwritten is read: so the vendor judges the region.
pub(super) fn map_image(vendor: &Vendor, turn: &mut Turn<'_>) -> Made {
    use words::clEnqueueMapImage as at;
    turn.done_at(at::done);
    let (queue, note) = turn.handle_and_note(at::command_queue, kinds::CL_COMMAND_QUEUE)?;
    let mut command = Command {
        queue,
        note,
        memory: turn.handle(at::image, kinds::CL_MEM)?,
        part: Part::Elements(
            turn.input(at::origin)?.cast(),
            turn.input(at::region)?.cast(),
        ),
        wait_count: turn.call.word(at::num_events_in_wait_list) as u32,
        wait_list: turn.handles(at::event_wait_list, kinds::CL_EVENT)?,
    };
    let blocking = turn.call.word(at::blocking_map) as u32;
    let data = turn.output(at::data)?;
    command.gate(turn, at::event_wait_list)?;
    turn.begin();
    let made = command.read(vendor, blocking, data);
    let made = made.map_err(|_| unsupported())?;
    let what = (CL_COMMAND_MAP_IMAGE, at::event, at::command_queue);
    command.given(vendor, turn, made, what);
    mapped(made.1)
}

/// What a map returns is not null if it went well; the guest library knows the address.
fn mapped(error: i32) -> Made {
    Ok(Answer {
        value: u64::from(error == CL_SUCCESS),
        error,
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
    let memory = turn.handle(at::memobj, kinds::CL_MEM)?;
    let kept = turn.kept(Handle(turn.call.word(at::memobj)));
    let is_image = kept.is_some_and(|kept| kept & IMAGE != 0);
    let (origin, region) = (turn.input(at::origin)?, turn.input(at::region)?);
    let (origin, region): (*const usize, *const usize) = (origin.cast(), region.cast());
    let part = match is_image {
        true => Part::Elements(origin, region),
        // SAFETY: both have three numbers: neither is optional, and the spec says their length.
        false => unsafe { Part::Bytes(origin.read_unaligned(), region.read_unaligned()) },
    };
    let mut command = Command {
        queue,
        note,
        memory,
        part,
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

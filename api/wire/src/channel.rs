//! The rings between a VMM and one worker: commands one way, completions the other, in one sealed
//! memory file that no guest ever sees.
//!
//! A command may be sent *gated*: the worker gives it to the device, which must not begin with it
//! before the VMM opens its gate. Gates are opened through a third ring with a reader of its own, so
//! that they open whatever the worker's other threads wait for.
//!
//! Each ring has one writer and one reader. Positions count bytes (or entries) without end; a ring's
//! index is the position modulo its size. A side that is about to sleep says so in its *idle* word
//! and looks once more; the other side, having published something, clears the word and, if it was
//! set, writes the sleeper's event. So nobody is woken who is awake.
//!
//! The worker runs a tenant's code. The VMM therefore takes nothing that it reads here on trust.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};

use rustix::thread::futex;

use crate::command::MAX_COMMAND;
use crate::shared::SharedMemory;

const COMMAND_HEAD: u64 = 0;
const COMMAND_TAIL: u64 = 64;
const WORKER_IDLE: u64 = 128;
const DONE_HEAD: u64 = 192;
const DONE_TAIL: u64 = 256;
const VMM_IDLE: u64 = 320;
const GATES_HEAD: u64 = 384;
const GATES_TAIL: u64 = 448;
/// Counts what is published; the reader sleeps on it as a futex.
const GATES_BELL: u64 = 512;
const GATES_IDLE: u64 = 576;
const COMMANDS: u64 = 4096;
/// Bytes of the command ring; a power of two.
pub const COMMANDS_SIZE: u64 = 1 << 20;
const COMPLETIONS: u64 = COMMANDS + COMMANDS_SIZE;
/// Entries of the completion ring; a power of two.
pub const COMPLETIONS_COUNT: u64 = 8192;
const COMPLETION_SIZE: u64 = 32;
const GATES: u64 = COMPLETIONS + COMPLETIONS_COUNT * COMPLETION_SIZE;
/// Entries of the ring of opened gates; a power of two.
pub const GATES_COUNT: u64 = 1024;
/// Bytes of the memory file.
pub const CHANNEL_SIZE: u64 = GATES + GATES_COUNT * 8;

const RECORD_HEADER: u64 = 16;
const PAD: u32 = 0;
const COMMAND: u32 = 1;
const GATED: u32 = 2;
/// Bits of a record's kind, below the command's length.
const KIND_BITS: u32 = 2;

/// The other side has broken the rules of the ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the other side of the channel broke its rules")]
pub struct Broken;

/// Something that a worker reports about a command, after the fact.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Completion {
    /// The number that the VMM gave the command.
    pub id: u64,
    /// What happened.
    pub event: Event,
}

/// What a worker reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// The call has been made, and this is reported before it is answered.
    Called {
        /// Which of the first 64 proposed handles, by position, now name an object.
        bound: u64,
        /// The call's own error code, 0 if none.
        error: i32,
    },
    /// Which of the 64 proposed handles from position 64 × `word` on now name an object; reported
    /// before [`Called`](Self::Called). None of those does that are not reported.
    Bound {
        /// At least 1.
        word: u32,
        /// By position.
        bound: u64,
    },
    /// The device has finished the command's work.
    Executed {
        /// Time on the device by its own clock, in nanoseconds.
        device_ns: u64,
    },
    /// Nothing but its gate keeps the device from beginning with the command.
    Ready,
}

/// A command as the worker receives it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Received {
    /// The number that the VMM gave it.
    pub id: u64,
    /// Whether the device must wait for its gate.
    pub gated: bool,
}

impl Completion {
    fn to_words(self) -> [u64; 4] {
        match self.event {
            Event::Called { bound, error } => [self.id, 1, bound, error as u32 as u64],
            Event::Executed { device_ns } => [self.id, 2, device_ns, 0],
            Event::Ready => [self.id, 3, 0, 0],
            Event::Bound { word, bound } => [self.id, 4, bound, word.into()],
        }
    }

    fn from_words([id, kind, a, b]: [u64; 4]) -> Option<Completion> {
        let event = match kind {
            1 => Event::Called {
                bound: a,
                error: b as u32 as i32,
            },
            2 => Event::Executed { device_ns: a },
            3 => Event::Ready,
            4 => Event::Bound {
                word: u32::try_from(b).ok()?,
                bound: a,
            },
            _ => return None,
        };
        Some(Completion { id, event })
    }
}

/// Makes a channel's memory file and the VMM's end of it.
pub fn create() -> io::Result<(VmmEnd, OwnedFd)> {
    let (memory, file) = SharedMemory::create("weir-channel", CHANNEL_SIZE)?;
    Ok((
        VmmEnd {
            memory,
            tail: 0,
            head: 0,
            gates: 0,
        },
        file,
    ))
}

fn word(memory: &SharedMemory, at: u64) -> &AtomicU32 {
    memory.atomic_u32(at).expect("a channel holds its header")
}

fn long(memory: &SharedMemory, at: u64) -> &AtomicU64 {
    memory.atomic_u64(at).expect("a channel holds its header")
}

/// Says that this side is about to sleep. It must then look at its ring once more.
fn announce_idle(idle: &AtomicU32) {
    idle.store(1, Ordering::SeqCst);
    fence(Ordering::SeqCst);
}

/// Whether the other side sleeps (or is about to) and must be woken; clears its announcement.
fn must_wake(idle: &AtomicU32) -> bool {
    fence(Ordering::SeqCst);
    idle.load(Ordering::Relaxed) != 0 && idle.swap(0, Ordering::SeqCst) != 0
}

/// The VMM's end: writes commands, reads completions.
#[derive(Debug)]
pub struct VmmEnd {
    memory: SharedMemory,
    tail: u64,
    head: u64,
    /// Gates opened so far.
    gates: u64,
}

impl VmmEnd {
    /// Writes command number `id`. Returns `false`, having written nothing, if the ring has no room
    /// for it now. It becomes visible with [`publish`](Self::publish).
    pub fn push(&mut self, id: u64, command: &[u8]) -> Result<bool, Broken> {
        self.push_as(COMMAND, id, command)
    }

    /// The same for a command that the device must not begin with before
    /// [`open_gate`](Self::open_gate).
    pub fn push_gated(&mut self, id: u64, command: &[u8]) -> Result<bool, Broken> {
        self.push_as(GATED, id, command)
    }

    fn push_as(&mut self, kind: u32, id: u64, command: &[u8]) -> Result<bool, Broken> {
        assert!(
            command.len() <= MAX_COMMAND,
            "commands are checked before they are sent"
        );
        let size = (RECORD_HEADER + command.len() as u64).next_multiple_of(RECORD_HEADER);
        let head = long(&self.memory, COMMAND_HEAD).load(Ordering::Acquire);
        let used = self
            .tail
            .checked_sub(head)
            .filter(|n| *n <= COMMANDS_SIZE)
            .ok_or(Broken)?;
        let to_end = COMMANDS_SIZE - self.tail % COMMANDS_SIZE;
        let pad = if to_end < size { to_end } else { 0 };
        if used + pad + size > COMMANDS_SIZE {
            return Ok(false);
        }
        if pad > 0 {
            self.write_record(pad, PAD, 0, &[]);
        }
        self.write_record(size, kind, id, command);
        Ok(true)
    }

    /// Opens the gate of command number `id`. Returns `false`, having done nothing, if the ring has
    /// no room for it now.
    pub fn open_gate(&mut self, id: u64) -> Result<bool, Broken> {
        let head = long(&self.memory, GATES_HEAD).load(Ordering::Acquire);
        let used = self.gates.checked_sub(head).ok_or(Broken)?;
        if used > GATES_COUNT {
            return Err(Broken);
        }
        if used == GATES_COUNT {
            return Ok(false);
        }
        let at = GATES + self.gates % GATES_COUNT * 8;
        long(&self.memory, at).store(id, Ordering::Relaxed);
        self.gates += 1;
        long(&self.memory, GATES_TAIL).store(self.gates, Ordering::Release);
        Ok(true)
    }

    /// Wakes whoever opens gates in the worker, if it sleeps. Comes after one or more of
    /// [`open_gate`](Self::open_gate).
    pub fn publish_gates(&self) {
        let bell = word(&self.memory, GATES_BELL);
        bell.store(self.gates as u32, Ordering::SeqCst);
        if must_wake(word(&self.memory, GATES_IDLE)) {
            let _ = futex::wake(bell, futex::Flags::empty(), 1);
        }
    }

    fn write_record(&mut self, size: u64, kind: u32, id: u64, command: &[u8]) {
        let at = COMMANDS + self.tail % COMMANDS_SIZE;
        let mut header = [0; RECORD_HEADER as usize];
        header[0..4].copy_from_slice(&(size as u32).to_le_bytes());
        header[4..8].copy_from_slice(&((command.len() as u32) << KIND_BITS | kind).to_le_bytes());
        header[8..16].copy_from_slice(&id.to_le_bytes());
        self.memory
            .write(at, &header)
            .expect("records stay inside of the ring");
        self.memory
            .write(at + RECORD_HEADER, command)
            .expect("records stay inside of the ring");
        self.tail += size;
    }

    /// Makes what was pushed visible. Returns whether the worker sleeps and its event must be
    /// written.
    #[must_use]
    pub fn publish(&mut self) -> bool {
        long(&self.memory, COMMAND_TAIL).store(self.tail, Ordering::Release);
        must_wake(word(&self.memory, WORKER_IDLE))
    }

    /// The next completion, if there is one.
    pub fn next_completion(&mut self) -> Result<Option<Completion>, Broken> {
        let tail = long(&self.memory, DONE_TAIL).load(Ordering::Acquire);
        if tail
            .checked_sub(self.head)
            .is_none_or(|n| n > COMPLETIONS_COUNT)
        {
            return Err(Broken);
        }
        if tail == self.head {
            return Ok(None);
        }
        let at = COMPLETIONS + self.head % COMPLETIONS_COUNT * COMPLETION_SIZE;
        let mut bytes = [0; COMPLETION_SIZE as usize];
        self.memory
            .read(at, &mut bytes)
            .expect("entries stay inside of the ring");
        let (words, _) = bytes.as_chunks::<8>();
        let found = Completion::from_words(std::array::from_fn(|i| u64::from_le_bytes(words[i])));
        self.head += 1;
        long(&self.memory, DONE_HEAD).store(self.head, Ordering::Release);
        found.map(Some).ok_or(Broken)
    }

    /// Says that the VMM is about to sleep on its event. It must then look for completions once more.
    pub fn announce_idle(&self) {
        announce_idle(word(&self.memory, VMM_IDLE));
    }

    /// Takes [`announce_idle`](Self::announce_idle) back: the VMM looks by itself.
    pub fn announce_busy(&self) {
        word(&self.memory, VMM_IDLE).store(0, Ordering::Relaxed);
    }
}

/// The worker's end for reading commands. One thread at a time uses it.
#[derive(Debug)]
pub struct CommandReader {
    memory: SharedMemory,
    head: u64,
}

impl CommandReader {
    /// Opens the channel in `file`.
    pub fn open(file: impl AsFd) -> io::Result<CommandReader> {
        let memory = SharedMemory::map(file, CHANNEL_SIZE)?;
        Ok(CommandReader { memory, head: 0 })
    }

    /// Copies the next command into `out` (replacing what is there) and returns what it is; `None`
    /// if there is none yet.
    pub fn next(&mut self, out: &mut Vec<u8>) -> Result<Option<Received>, Broken> {
        loop {
            let tail = long(&self.memory, COMMAND_TAIL).load(Ordering::Acquire);
            if tail == self.head {
                return Ok(None);
            }
            let at = COMMANDS + self.head % COMMANDS_SIZE;
            let mut header = [0; RECORD_HEADER as usize];
            self.memory.read(at, &mut header).map_err(|_| Broken)?;
            let (words, _) = header.as_chunks::<4>();
            let size = u64::from(u32::from_le_bytes(words[0]));
            let len_kind = u32::from_le_bytes(words[1]);
            let len = (len_kind >> KIND_BITS) as usize;
            let kind = len_kind & ((1 << KIND_BITS) - 1);
            if size < RECORD_HEADER || len as u64 > size - RECORD_HEADER || len > MAX_COMMAND {
                return Err(Broken);
            }
            if kind != PAD {
                out.resize(len, 0);
                self.memory
                    .read(at + RECORD_HEADER, out)
                    .map_err(|_| Broken)?;
            }
            self.head += size;
            long(&self.memory, COMMAND_HEAD).store(self.head, Ordering::Release);
            if kind != PAD {
                let id = u64::from_le_bytes(header[8..16].try_into().expect("eight bytes"));
                let gated = kind == GATED;
                return Ok(Some(Received { id, gated }));
            }
        }
    }

    /// Whether a command waits.
    pub fn has_next(&self) -> bool {
        long(&self.memory, COMMAND_TAIL).load(Ordering::Acquire) != self.head
    }

    /// Says that the worker is about to sleep on its event. It must then look once more.
    pub fn announce_idle(&self) {
        announce_idle(word(&self.memory, WORKER_IDLE));
    }

    /// Takes [`announce_idle`](Self::announce_idle) back.
    pub fn announce_busy(&self) {
        word(&self.memory, WORKER_IDLE).store(0, Ordering::Relaxed);
    }
}

/// The worker's end for hearing which gates are open. One thread uses it.
#[derive(Debug)]
pub struct GateReader {
    memory: SharedMemory,
    head: u64,
}

impl GateReader {
    /// Opens the channel in `file`.
    pub fn open(file: impl AsFd) -> io::Result<GateReader> {
        let memory = SharedMemory::map(file, CHANNEL_SIZE)?;
        Ok(GateReader { memory, head: 0 })
    }

    /// The number of the next command whose gate is to be opened, if there is one.
    pub fn opened(&mut self) -> Option<u64> {
        let tail = long(&self.memory, GATES_TAIL).load(Ordering::Acquire);
        if tail == self.head {
            return None;
        }
        let at = GATES + self.head % GATES_COUNT * 8;
        let id = long(&self.memory, at).load(Ordering::Relaxed);
        self.head += 1;
        long(&self.memory, GATES_HEAD).store(self.head, Ordering::Release);
        Some(id)
    }

    /// Sleeps until there may be another.
    pub fn wait(&self) {
        let bell = word(&self.memory, GATES_BELL);
        let seen = bell.load(Ordering::SeqCst);
        announce_idle(word(&self.memory, GATES_IDLE));
        if long(&self.memory, GATES_TAIL).load(Ordering::Acquire) == self.head {
            // Returns at once where the bell has rung meanwhile.
            let _ = futex::wait(bell, futex::Flags::empty(), seen, None);
        }
        word(&self.memory, GATES_IDLE).store(0, Ordering::Relaxed);
    }
}

/// The worker's end for writing completions. One thread at a time uses it.
#[derive(Debug)]
pub struct CompletionWriter {
    memory: SharedMemory,
    tail: u64,
}

impl CompletionWriter {
    /// Opens the channel in `file`.
    pub fn open(file: impl AsFd) -> io::Result<CompletionWriter> {
        let memory = SharedMemory::map(file, CHANNEL_SIZE)?;
        Ok(CompletionWriter { memory, tail: 0 })
    }

    /// Writes one completion and makes it visible. Returns `None`, having written nothing, if the
    /// ring is full; otherwise whether the VMM sleeps and its event must be written.
    #[must_use]
    pub fn push(&mut self, completion: Completion) -> Option<bool> {
        let head = long(&self.memory, DONE_HEAD).load(Ordering::Acquire);
        if self.tail.wrapping_sub(head) >= COMPLETIONS_COUNT {
            return None;
        }
        let at = COMPLETIONS + self.tail % COMPLETIONS_COUNT * COMPLETION_SIZE;
        for (i, word) in completion.to_words().iter().enumerate() {
            let at = at + 8 * i as u64;
            self.memory
                .write(at, &word.to_le_bytes())
                .expect("entries stay inside of the ring");
        }
        self.tail += 1;
        long(&self.memory, DONE_TAIL).store(self.tail, Ordering::Release);
        Some(must_wake(word(&self.memory, VMM_IDLE)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ends() -> (VmmEnd, CommandReader, CompletionWriter) {
        let (vmm, file) = create().unwrap();
        let reader = CommandReader::open(&file).unwrap();
        (vmm, reader, CompletionWriter::open(&file).unwrap())
    }

    #[test]
    fn commands_arrive_in_order_across_the_ring_s_end() {
        let (mut vmm, mut reader, _) = ends();
        let mut out = Vec::new();
        let (mut sent, mut seen) = (0u64, 0u64);
        while seen < 2_000 {
            let command = vec![sent as u8; 16 + (sent as usize * 1000) % 60_000 / 8 * 8];
            if vmm.push(sent, &command).unwrap() {
                sent += 1;
                continue;
            }
            let _ = vmm.publish();
            while let Some(received) = reader.next(&mut out).unwrap() {
                assert_eq!((received.id, received.gated), (seen, false));
                assert_eq!(out.len(), 16 + (seen as usize * 1000) % 60_000 / 8 * 8);
                assert!(out.iter().all(|b| *b == seen as u8));
                seen += 1;
            }
        }
    }

    #[test]
    fn a_sleeper_is_woken_once() {
        let (mut vmm, reader, mut writer) = ends();
        assert!(vmm.push(1, &[0; 16]).unwrap());
        assert!(!vmm.publish());
        reader.announce_idle();
        assert!(vmm.publish());
        assert!(!vmm.publish());
        let done = Completion {
            id: 1,
            event: Event::Executed { device_ns: 5 },
        };
        assert_eq!(writer.push(done), Some(false));
        vmm.announce_idle();
        assert_eq!(writer.push(done), Some(true));
        assert_eq!(vmm.next_completion(), Ok(Some(done)));
    }

    #[test]
    fn a_full_completion_ring_refuses() {
        let (mut vmm, _, mut writer) = ends();
        let done = |id| Completion {
            id,
            event: Event::Called {
                bound: 3,
                error: -5,
            },
        };
        for id in 0..COMPLETIONS_COUNT {
            assert!(writer.push(done(id)).is_some());
        }
        assert!(writer.push(done(0)).is_none());
        assert_eq!(vmm.next_completion(), Ok(Some(done(0))));
        assert!(writer.push(done(0)).is_some());
    }

    #[test]
    fn gates_open_beside_the_commands() {
        let (mut vmm, file) = create().unwrap();
        let mut reader = CommandReader::open(&file).unwrap();
        let mut gates = GateReader::open(&file).unwrap();
        assert!(vmm.push_gated(1, &[0; 16]).unwrap());
        let _ = vmm.publish();
        let received = reader.next(&mut Vec::new()).unwrap().unwrap();
        assert_eq!((received.id, received.gated), (1, true));
        assert_eq!(gates.opened(), None);
        let opener = std::thread::spawn(move || {
            loop {
                match gates.opened() {
                    Some(u64::MAX) => return gates,
                    Some(_) => {}
                    None => gates.wait(),
                }
            }
        });
        for id in (0..10 * GATES_COUNT).chain([u64::MAX]) {
            while !vmm.open_gate(id).unwrap() {
                vmm.publish_gates();
                std::thread::yield_now();
            }
            vmm.publish_gates();
        }
        let gates = opener.join().unwrap();
        assert_eq!(gates.head, 10 * GATES_COUNT + 1);
        long(&gates.memory, GATES_HEAD).store(u64::MAX, Ordering::Relaxed);
        assert_eq!(vmm.open_gate(1), Err(Broken));
    }

    #[test]
    fn a_worker_s_lies_are_found() {
        let (mut vmm, reader, _) = ends();
        long(&reader.memory, COMMAND_HEAD).store(5, Ordering::Relaxed);
        assert_eq!(vmm.push(1, &[0; 16]), Err(Broken));
        long(&reader.memory, DONE_TAIL).store(COMPLETIONS_COUNT + 1, Ordering::Relaxed);
        assert_eq!(vmm.next_completion(), Err(Broken));
        long(&reader.memory, DONE_TAIL).store(1, Ordering::Relaxed);
        assert_eq!(vmm.next_completion(), Err(Broken), "an entry of no kind");
    }
}

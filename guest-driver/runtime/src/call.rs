//! One call, from its arguments to its answer.
//!
//! The generated code names the words; what it must be, `api/wire` says: a command that this module
//! makes passes `weir_wire::check::check`, or it is not sent.

mod arguments;
mod bulk;
mod pieces;
mod reply;

use std::cell::Cell;
use std::sync::Arc;

use weir_wire::command::{HEADER_SIZE, Header, MAX_COMMAND, Place, Reference};
use weir_wire::handle::{Handle, MAX_PROPOSALS};

use crate::Code;
use crate::connection::{Connection, Library};
use crate::deferred::{Target, Transfer};
use crate::includes::Includes;
use crate::known::Equal;
use crate::lanes::{Lane, SCRATCH};
use crate::memory::Region;
use crate::objects::{Family, Object};
use crate::stream::Urgency;

pub use bulk::Bulk;
pub use pieces::{Piece, in_pieces};
pub use reply::Reply;

/// Most objects that one call can find or make.
pub const MAX_FOUND: u64 = MAX_PROPOSALS as u64;

/// Bytes of each piece of a call that is made piece by piece: so few that every lane can have one
/// in the arena at the same time.
pub const PIECE: u64 = 1 << 20;

/// A call being made.
#[derive(Debug)]
pub struct Call {
    weir: &'static Connection,
    function: u16,
    words: usize,
    work: Work,
    lane: Option<Lane<'static>>,
    urgency: Urgency,
    owner: Handle,
    done: Option<usize>,
}

/// What a call is put together in; each thread uses its own again and again.
#[derive(Debug, Default)]
struct Work {
    command: Vec<u8>,
    outputs: Vec<Output>,
    inputs: Vec<Region>,
    /// Handles of objects that the call makes.
    proposed: Vec<Handle>,
    /// Handles for lists of objects that the call may find or make.
    found: Vec<Handle>,
    /// What the objects of its lists belong to.
    lines: Vec<Handle>,
    bulk: Option<InArena>,
}

/// Bytes that the call writes and the guest library reads.
#[derive(Debug)]
struct Output {
    word: usize,
    len: u64,
    /// Whether the program has not passed null.
    wanted: bool,
    at: u64,
    own: Option<Region>,
}

/// A bulk transfer through the arena.
#[derive(Debug)]
struct InArena {
    at: u64,
    region: Option<Arc<Region>>,
    target: Option<Target>,
}

/// One of a call's outputs.
#[derive(Clone, Copy, Debug)]
pub struct OutputId(usize);

/// How a function says that it failed.
#[derive(Clone, Copy, Debug)]
pub enum Failure {
    /// By a return value other than zero.
    Return,
    /// By returning null, and a code in this output.
    Out(OutputId),
    /// By a code in this output, whatever it returns.
    Beside(OutputId),
    /// Not at all.
    Nowhere,
}

/// Makes calls that leave the errors of calls that nobody waited for to others: of a thread of the
/// library's, the program would not learn them.
pub fn quietly<T>(calls: impl FnOnce() -> T) -> T {
    let before = QUIET.replace(true);
    let result = calls();
    QUIET.set(before);
    result
}

thread_local! {
    static QUIET: Cell<bool> = const { Cell::new(false) };
    static SPARE: Cell<Option<Work>> = const { Cell::new(None) };
}

impl Call {
    /// Begins a call of `function`, whose commands have `words` words.
    pub fn new(library: &Library, function: u16, words: usize) -> Result<Call, Code> {
        let weir = library.connection()?;
        if weir.is_lost() {
            return Err(weir.lost());
        }
        // A thread that is being torn down has no spare any more.
        let mut work = SPARE
            .try_with(Cell::take)
            .ok()
            .flatten()
            .unwrap_or_default();
        work.command.clear();
        work.command.resize(HEADER_SIZE + 8 * words, 0);
        Ok(Call {
            weir,
            function,
            words,
            work,
            lane: None,
            urgency: Urgency::Later,
            owner: Handle::NULL,
            done: None,
        })
    }

    /// The connection that it goes over.
    pub fn connection(&self) -> &'static Connection {
        self.weir
    }

    /// What makes it equal to another call of its function; nothing yet.
    pub fn equal(&self) -> Equal {
        Equal::new(self.weir, self.function)
    }

    /// No objects yet, to be found related or not.
    pub fn family(&self) -> Family<'static> {
        self.weir.objects.family()
    }

    /// No files yet that texts of the call's objects include.
    pub fn includes(&self) -> Includes<'static> {
        Includes::new(&self.weir.objects)
    }

    /// The API's error for arguments that cannot be.
    pub fn malformed(&self) -> Code {
        Code(self.weir.face.errors.malformed)
    }

    /// Says that it gives the device work.
    pub fn launches(&mut self) {
        self.urgency = Urgency::Launch;
    }

    /// Says that it goes out at once with all before it, although nobody waits for it.
    pub fn submits(&mut self) {
        self.urgency = Urgency::Now;
    }

    /// Says that its bulk transfer may go on when it has been answered, and at which word the
    /// reference to the "complete" word goes.
    pub fn done(&mut self, word: usize) {
        self.done = Some(word);
    }

    /// Sets a word.
    pub fn word(&mut self, index: usize, value: u64) {
        debug_assert!(index < self.words);
        let at = HEADER_SIZE + 8 * index;
        self.work.command[at..at + 8].copy_from_slice(&value.to_le_bytes());
    }

    fn reference(&mut self, index: usize, place: Place, len: u64) {
        let [place, len] = Reference { place, len }.to_words();
        self.word(index, place);
        self.word(index + 1, len);
    }

    fn inline(&mut self, index: usize, len: usize) -> Result<&mut [u8], Code> {
        let at = self.work.command.len();
        let padded = len.checked_next_multiple_of(8).ok_or(self.malformed())?;
        if padded > MAX_COMMAND - at.min(MAX_COMMAND) {
            return Err(self.malformed());
        }
        self.reference(index, Place::Inline(at as u64), len as u64);
        self.work.command.resize(at + padded, 0);
        Ok(&mut self.work.command[at..at + len])
    }

    /// Makes room for `len` bytes that the call writes. With `wanted` false, the program has passed
    /// null, and so does the call.
    pub fn output(&mut self, index: usize, len: u64, wanted: bool) -> OutputId {
        self.work.outputs.push(Output {
            word: index,
            len: if wanted { len } else { 0 },
            wanted,
            at: 0,
            own: None,
        });
        OutputId(self.work.outputs.len() - 1)
    }

    /// Proposes a handle for an object that the call makes.
    pub fn new_object(
        &mut self,
        index: usize,
        kind: usize,
        parent: Option<&Object>,
    ) -> Result<&'static Object, Code> {
        let object = self.propose(kind, parent)?;
        self.work.proposed.push(object.handle());
        self.word(index, object.handle().0);
        Ok(object)
    }

    fn propose(&self, kind: usize, parent: Option<&Object>) -> Result<&'static Object, Code> {
        let dispatch = (self.weir.face.dispatch)();
        let object = self.weir.objects.propose(kind, dispatch, parent);
        object.ok_or(Code(self.weir.face.errors.quota))
    }

    /// Proposes handles for `count` objects (at most [`MAX_FOUND`]) that the call may find or make;
    /// they belong to `parent`.
    pub fn new_objects(
        &mut self,
        index: usize,
        kind: usize,
        count: u64,
        parent: Option<&Object>,
    ) -> Result<OutputId, Code> {
        let at = self.work.command.len();
        self.inline(index, 8 * count.min(MAX_FOUND) as usize)?;
        for i in 0..count.min(MAX_FOUND) as usize {
            let handle = self.propose(kind, parent)?.handle();
            self.work.found.push(handle);
            self.work.command[at + 8 * i..][..8].copy_from_slice(&handle.0.to_le_bytes());
        }
        Ok(self.output(index + 2, 8 * count, true))
    }

    /// Sends it. `queued` if the program need not wait for its answer.
    pub fn send(mut self, queued: bool, failure: Failure) -> Result<Reply, Code> {
        if queued && !self.must_wait(failure) {
            return self.send_queued();
        }
        let done = self.defer_bulk()?;
        let value = self.send_waiting()?;
        let error = self.failure(value, failure);
        if let (Some(done), Some(_)) = (done, error) {
            self.weir.deferred.forget(done);
        }
        let quiet = QUIET.try_with(Cell::get).unwrap_or(false);
        let unreported = match (self.weir.face.reports)(self.function) {
            true if !quiet => {
                let lines = &mut self.work.lines;
                lines.push(self.owner);
                self.weir.arena().take_error(lines)
            }
            _ => 0,
        };
        match (unreported, error) {
            (0, None) => {}
            (0, Some(code)) => return Err(code),
            (code, _) => return Err(Code(code.into())),
        }
        self.end_bulk();
        self.work.proposed.clear();
        Ok(Reply::from_arena(self, value))
    }

    /// Whether it has something that must not be left alone: outputs other than an error, or arena
    /// memory of which nobody would say when it is free again.
    fn must_wait(&self, failure: Failure) -> bool {
        let is_error = |i| matches!(failure, Failure::Out(id) | Failure::Beside(id) if id.0 == i);
        let outputs = self.work.outputs.iter().enumerate();
        !self.work.inputs.is_empty()
            || (self.work.bulk.is_some() && self.done.is_none())
            || outputs
                .into_iter()
                .any(|(i, out)| out.wanted && !is_error(i))
    }

    /// Sends it, unless its answer is known already: it never changes.
    pub fn send_cached(mut self, failure: Failure) -> Result<Reply, Code> {
        if self
            .work
            .outputs
            .iter()
            .any(|out| out.len > crate::cache::MAX_ANSWER)
        {
            return self.send(false, failure);
        }
        // Outputs have their lengths, but no places yet: the same for each time that it is asked.
        for i in 0..self.work.outputs.len() {
            let Output {
                word, len, wanted, ..
            } = self.work.outputs[i];
            self.word(word, wanted.into());
            self.word(word + 1, len);
        }
        let mut question = self.work.command[HEADER_SIZE..].to_vec();
        question.extend_from_slice(&self.function.to_le_bytes());
        if let Some(answer) = self.weir.cache.get(&question) {
            return Ok(Reply::kept(self, answer));
        }
        for i in 0..self.work.outputs.len() {
            let word = self.work.outputs[i].word;
            self.reference(word, Place::Null, 0);
        }
        let weir = self.weir;
        let reply = self.send(false, failure)?;
        weir.cache.put(&question, reply.to_answer());
        Ok(reply)
    }

    fn failure(&self, value: u64, failure: Failure) -> Option<Code> {
        match failure {
            Failure::Nowhere => None,
            Failure::Return => match value as u32 as i32 {
                0 => None,
                code => Some(Code(code.into())),
            },
            Failure::Beside(id) => match self.read_i32(id) {
                0 => None,
                code => Some(Code(code.into())),
            },
            Failure::Out(_) if value != 0 => None,
            Failure::Out(id) => match self.read_i32(id) {
                0 => Some(self.malformed()),
                code => Some(Code(code.into())),
            },
        }
    }

    fn read_i32(&self, id: OutputId) -> i32 {
        let mut bytes = [0; 4];
        match self.work.outputs.get(id.0) {
            Some(out) if out.len >= 4 => {
                let _ = self.weir.arena().memory().read(out.at, &mut bytes);
            }
            _ => {}
        }
        i32::from_le_bytes(bytes)
    }

    fn send_queued(mut self) -> Result<Reply, Code> {
        self.defer_bulk()?;
        self.fill_header(0, 0);
        self.weir.append(&self.work.command, self.urgency)?;
        self.work.proposed.clear();
        Ok(Reply::from_arena(self, 0))
    }

    /// Hands a bulk transfer that may outlast the call over to those under way. Returns where the
    /// word lies that says when it is complete.
    fn defer_bulk(&mut self) -> Result<Option<u64>, Code> {
        let (Some(index), true) = (self.done, self.work.bulk.is_some()) else {
            return Ok(None);
        };
        let done = self.weir.allocate(4)?;
        let word = self.weir.arena().memory().atomic_u32(done.at());
        word.map_err(|_| self.malformed())?
            .store(0, std::sync::atomic::Ordering::Release);
        let at = done.at();
        self.reference(index, Place::Arena(at), 4);
        if let Some(bulk) = self.work.bulk.take() {
            self.weir.deferred.add(Transfer {
                done,
                data: bulk.region,
                target: bulk.target,
                owner: self.owner,
            });
        }
        Ok(Some(at))
    }

    fn send_waiting(&mut self) -> Result<u64, Code> {
        let lane = self.weir.lanes().take();
        self.place_outputs(&lane)?;
        let seq = lane.next_seq();
        self.fill_header(lane.index(), seq);
        self.weir.append(&self.work.command, Urgency::Now)?;
        let value = self.weir.wait(&lane, seq)?;
        // Its scratch holds the outputs until they are copied.
        self.lane = Some(lane);
        Ok(value)
    }

    fn place_outputs(&mut self, lane: &Lane<'_>) -> Result<(), Code> {
        let weir = self.weir;
        let mut used = 0;
        for i in 0..self.work.outputs.len() {
            let Output {
                word, len, wanted, ..
            } = self.work.outputs[i];
            if !wanted {
                continue;
            }
            let room = len.next_multiple_of(8);
            let (at, own) = if room <= SCRATCH - used {
                let scratch = lane.scratch(|| weir.scratch());
                let at = scratch.ok_or(Code(weir.face.errors.quota))? + used;
                used += room;
                (at, None)
            } else {
                let region = weir.allocate(len)?;
                (region.at(), Some(region))
            };
            self.reference(word, Place::Arena(at), len);
            self.work.outputs[i].at = at;
            self.work.outputs[i].own = own;
        }
        Ok(())
    }

    fn fill_header(&mut self, lane: u32, seq: u32) {
        let header = Header {
            size: self.work.command.len() as u32,
            api: self.weir.face.id,
            function: self.function,
            lane,
            seq,
        };
        self.work.command[..HEADER_SIZE].copy_from_slice(&header.to_bytes());
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        let unused = self
            .work
            .proposed
            .drain(..)
            .chain(self.work.found.drain(..));
        for handle in unused {
            if let Some(object) = self.weir.objects.named(handle) {
                self.weir.release(object);
            }
        }
        self.work.outputs.clear();
        self.work.inputs.clear();
        self.work.lines.clear();
        self.work.bulk = None;
        let work = std::mem::take(&mut self.work);
        let _ = SPARE.try_with(|spare| spare.set(Some(work)));
    }
}

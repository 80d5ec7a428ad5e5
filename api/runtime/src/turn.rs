//! One call while it is made: inputs are taken out of it, the vendor library is called, outputs and
//! new objects are put where the guest finds them.
//!
//! The generated dispatch first takes *every* input out (in the order of the stream), then
//! [`begin`](Turn::begin)s, then calls. A pointer that it gets from here is good for as many bytes
//! as the function's table says, until the turn is over.

use std::ffi::{c_char, c_void};
use std::sync::Arc;
use std::time::Duration;

use weir_wire::arena::MAX_LANES;
use weir_wire::channel::{Event, Received};
use weir_wire::check::check;
use weir_wire::command::{Call, Header, Place, Reference};
use weir_wire::files::Bundle;
use weir_wire::function::{Failure, Function, Kept, Passing};
use weir_wire::handle::Handle;

use crate::files::Tree;
use crate::library::Library;
use crate::objects::{Known, UNORDERED};
use crate::scratch::Scratch;
use crate::session::Session;
use crate::tracker::{Outstanding, Waits, write_failed};

/// Largest input that is copied before it is looked at (sources, binaries, options).
const MAX_COPIED: u64 = 64 << 20;

/// Bytes of zeros after a property list.
const LIST_ENDS: usize = 16;

/// What a call came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The return value's bits.
    pub value: u64,
    /// The API's error code; 0 if none.
    pub error: i32,
}

/// A call was not made, for this error of the API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused(pub i64);

/// What became of a call.
pub type Made = Result<Answer, Refused>;

/// Whoever dispatches the stream.
pub trait Seat {
    /// Lets somebody else dispatch what comes next: this call may take long.
    fn step_aside(&mut self);
}

/// An answer that contains handles.
#[derive(Clone, Copy, Debug)]
pub enum Naming {
    /// Nothing but handles.
    Handles,
    /// A property list; the values of these keys are handles.
    Properties(&'static [u64]),
    /// No handles, but text that may name the client's files.
    Text,
}

/// One call while it is made.
pub struct Turn<'a> {
    /// The client.
    pub session: &'a Session,
    /// Its words.
    pub call: Call<'a>,
    /// What its words mean.
    pub function: &'static Function,
    library: &'a Arc<dyn Library>,
    id: u64,
    scratch: &'a mut Scratch,
    seat: &'a mut dyn Seat,
    blocks: bool,
    proposed: u32,
    /// Which of the proposed handles name an object, by position in words of 64.
    bound: Vec<u64>,
    done: Option<u64>,
    kept: Option<Box<[u8]>>,
    outstanding: Option<Outstanding>,
    worked: Option<Duration>,
    gated: bool,
    waits: Option<Waits>,
    /// The library's event that is the gate.
    gate: Option<*mut c_void>,
    /// The line in which the work is expected while the call is made.
    expected: Option<u64>,
    /// The client's files that the call needs.
    files: Option<Tree>,
}

/// Makes the command `received`, which consists of `bytes`, on `library`, and answers it.
pub fn run(
    session: &Session,
    library: &Arc<dyn Library>,
    Received { id, gated }: Received,
    bytes: &[u8],
    scratch: &mut Scratch,
    seat: &mut dyn Seat,
) {
    let api = library.api();
    scratch.clear();
    let kept: Kept<'_> = &|handle| session.objects.kept(handle);
    let (function, call) = match check(api, bytes, session.arena.size(), kept) {
        Ok(checked) => checked,
        Err(why) => {
            let why = format!("malformed: {why}");
            return refuse(session, id, bytes, api.errors.malformed, &why);
        }
    };
    let blocks = function
        .blocks
        .is_some_and(|blocks| blocks(&call, kept).is_some_and(|value| value != 0));
    let mut turn = Turn {
        session,
        call,
        function,
        library,
        id,
        scratch,
        seat,
        blocks,
        proposed: 0,
        bound: Vec::new(),
        done: None,
        kept: None,
        outstanding: None,
        worked: None,
        gated: gated && !session.gates.pass(id),
        waits: None,
        gate: None,
        expected: None,
        files: None,
    };
    let made = library.make(&mut turn);
    turn.finish(made);
}

/// Answers a command that cannot be made with the error `code`. The VMM lets no such command through.
pub fn refuse(session: &Session, id: u64, bytes: &[u8], code: i64, why: &str) {
    log::error!("command {id} is {why}");
    let error = code as i32;
    session.report(id, Event::Called { bound: 0, error });
    if let Some(header) = Header::read(bytes)
        && header.seq != 0
        && header.lane < MAX_LANES
    {
        session.reply(header.lane, header.seq, u64::from(error as u32));
    }
}

impl<'a> Turn<'a> {
    fn malformed(&self) -> Refused {
        Refused(self.library.api().errors.malformed)
    }

    fn invalid(&self, kind: usize) -> Refused {
        Refused(self.library.api().kinds[kind].invalid)
    }

    /// Number of the function.
    pub fn number(&self) -> u16 {
        self.call.header.function
    }

    // Inputs.

    /// The object of `kind` that the handle at `word` names; null for the null handle.
    pub fn handle(&self, word: usize, kind: usize) -> Result<*mut c_void, Refused> {
        self.handle_and_note(word, kind).map(|(pointer, _)| pointer)
    }

    /// The same, with the object's note.
    pub fn handle_and_note(&self, word: usize, kind: usize) -> Result<(*mut c_void, u64), Refused> {
        let handle = Handle(self.call.word(word));
        if handle.is_null() {
            return Ok((std::ptr::null_mut(), 0));
        }
        let found = self.session.objects.find(handle, kind);
        found.ok_or_else(|| self.invalid(kind))
    }

    /// The value that is kept with the object that `handle` names.
    pub fn kept(&self, handle: Handle) -> Option<u64> {
        self.session.objects.kept(handle)
    }

    /// The structures of `size` bytes at `word`, private to this turn, with the objects in place of
    /// the handles that lie at each of these offsets, of the kinds that stand beside them; null for
    /// none.
    pub fn records(
        &mut self,
        word: usize,
        size: usize,
        handles: &[(usize, usize)],
    ) -> Result<*mut u8, Refused> {
        let Some(bytes) = self.inline(word)? else {
            return Ok(std::ptr::null_mut());
        };
        let mut records = bytes.to_vec();
        for record in records.chunks_exact_mut(size) {
            for (offset, kind) in handles {
                let malformed = self.malformed();
                let place = record
                    .get_mut(*offset..)
                    .and_then(<[u8]>::first_chunk_mut::<8>)
                    .ok_or(malformed)?;
                let named = Handle(u64::from_le_bytes(*place));
                if named.is_null() {
                    continue;
                }
                let found = self.session.objects.find(named, *kind);
                let (pointer, _) = found.ok_or_else(|| self.invalid(*kind))?;
                *place = (pointer.expose_provenance() as u64).to_ne_bytes();
            }
        }
        let out = self.scratch.take(records.len());
        // SAFETY: `take` gave as many bytes.
        unsafe { std::ptr::copy_nonoverlapping(records.as_ptr(), out, records.len()) };
        Ok(out)
    }

    /// The objects of `kind` that the list of handles at `word` names; null for no list.
    pub fn handles(&mut self, word: usize, kind: usize) -> Result<*mut *mut c_void, Refused> {
        let Some(bytes) = self.inline(word)? else {
            return Ok(std::ptr::null_mut());
        };
        let out: *mut *mut c_void = self.scratch.take(bytes.len()).cast();
        for (index, named) in bytes.as_chunks::<8>().0.iter().enumerate() {
            let handle = Handle(u64::from_le_bytes(*named));
            let (pointer, _) = self
                .session
                .objects
                .find(handle, kind)
                .ok_or_else(|| self.invalid(kind))?;
            // SAFETY: `take` gave room for as many bytes as the list has.
            unsafe { out.add(index).write(pointer) };
        }
        Ok(out)
    }

    /// The property list at `word`, in which the value of each key in `keys` is a handle of the kind
    /// that stands beside it; null for none. More zeros than one follow it: the value of some keys is
    /// a list, whose own zero may have been taken for the last key.
    pub fn properties(&mut self, word: usize, keys: &[(u64, usize)]) -> Result<*mut u64, Refused> {
        let Some(bytes) = self.inline(word)? else {
            return Ok(std::ptr::null_mut());
        };
        let out: *mut u64 = self.scratch.take(bytes.len() + LIST_ENDS).cast();
        // SAFETY: `take` gave room for as many bytes more than the list has.
        unsafe { out.byte_add(bytes.len()).write_bytes(0, LIST_ENDS / 8) };
        let mut last_key = None;
        for (index, value) in bytes.as_chunks::<8>().0.iter().enumerate() {
            let mut value = u64::from_le_bytes(*value);
            last_key = match last_key {
                None => Some(value),
                Some(key) => {
                    let kind = keys.iter().find(|(with_handle, _)| *with_handle == key);
                    if let Some((_, kind)) = kind
                        && value != 0
                    {
                        let found = self.session.objects.find(Handle(value), *kind);
                        let (pointer, _) = found.ok_or_else(|| self.invalid(*kind))?;
                        value = pointer as u64;
                    }
                    None
                }
            };
            // SAFETY: `take` gave room for as many bytes as the list has.
            unsafe { out.add(index).write(value) };
        }
        Ok(out)
    }

    /// The bytes at `word`, private to this turn; null for none.
    pub fn input(&mut self, word: usize) -> Result<*const u8, Refused> {
        let found = self.reference(word)?;
        match found.place {
            Place::Null => Ok(std::ptr::null()),
            Place::Inline(_) => Ok(self.inline(word)?.map_or(std::ptr::null(), <[u8]>::as_ptr)),
            Place::Arena(at) => self.copy_out(at, found.len).map(<*mut u8>::cast_const),
        }
    }

    /// The zero-terminated string at `word`, private to this turn; null for none.
    pub fn string(&mut self, word: usize) -> Result<*const c_char, Refused> {
        let bytes = self.input(word)?;
        let len = self.reference(word)?.len as usize;
        // SAFETY: `input` gave `len` bytes.
        if !bytes.is_null() && (len == 0 || unsafe { bytes.add(len - 1).read() } != 0) {
            return Err(self.malformed());
        }
        Ok(bytes.cast())
    }

    /// The zero-terminated string of options at `word`, private to this turn; null for none. Files
    /// that travel with it are there until the turn is over, and it names them where they are.
    pub fn options(&mut self, word: usize) -> Result<*const c_char, Refused> {
        let bytes = self.input(word)?;
        if bytes.is_null() {
            return Ok(std::ptr::null());
        }
        let len = self.reference(word)?.len as usize;
        // SAFETY: `input` gave `len` bytes, which stay until the turn is over.
        let bytes = unsafe { std::slice::from_raw_parts(bytes, len) };
        let end = bytes.iter().position(|byte| *byte == 0);
        let (options, files) = bytes.split_at(end.ok_or_else(|| self.malformed())?);
        if files.len() == 1 {
            return Ok(bytes.as_ptr().cast());
        }
        let bundle = Bundle::read(&files[1..]).ok_or_else(|| self.malformed())?;
        let tree = Tree::new(&bundle).map_err(|error| {
            log::warn!("the files of a call cannot be put where its compiler finds them: {error}");
            Refused(self.library.api().errors.quota)
        })?;
        let redirected = tree.redirect(options, &bundle);
        self.files = Some(tree);
        let redirected = redirected.ok_or_else(|| self.malformed())?;
        let out = self.scratch.take(redirected.len() + 1);
        // SAFETY: `take` gave one byte more than there are.
        unsafe {
            std::ptr::copy_nonoverlapping(redirected.as_ptr(), out, redirected.len());
            out.add(redirected.len()).write(0);
        }
        Ok(out.cast_const().cast())
    }

    /// The `count` strings at `word`: their addresses and lengths; null for none.
    pub fn strings(
        &mut self,
        word: usize,
        count: u64,
    ) -> Result<(*mut *const u8, *const usize), Refused> {
        let bytes = self.input(word)?;
        let len = self.reference(word)?.len;
        if bytes.is_null() {
            return Ok((std::ptr::null_mut(), std::ptr::null()));
        }
        let malformed = self.malformed();
        // SAFETY: `input` gave `len` bytes, which stay until the turn is over.
        let bytes = unsafe { std::slice::from_raw_parts(bytes, len as usize) };
        let (words, _) = bytes.as_chunks::<8>();
        let said = words.first().map(|first| u64::from_le_bytes(*first));
        if said != Some(count) || count > words.len() as u64 - 1 {
            return Err(malformed);
        }
        let count = count as usize;
        let addresses: *mut *const u8 = self.scratch.take(8 * count).cast();
        let lengths: *mut usize = self.scratch.take(8 * count).cast();
        let mut rest = &bytes[8 * (1 + count)..];
        for (index, length) in words[1..=count].iter().enumerate() {
            let length = u64::from_le_bytes(*length);
            let (string, after) = usize::try_from(length)
                .ok()
                .and_then(|length| rest.split_at_checked(length))
                .ok_or(malformed)?;
            rest = after;
            // To many APIs a length of 0 means that a zero ends the string: then it must.
            let address = match string {
                [] => [0].as_ptr(),
                _ => string.as_ptr(),
            };
            // SAFETY: `take` gave room for `count` of each.
            unsafe {
                addresses.add(index).write(address);
                lengths.add(index).write(string.len());
            }
        }
        Ok((addresses, lengths))
    }

    /// The `count` strings at `word`, each of which a zero ends; null for none.
    pub fn texts(&mut self, word: usize, count: u64) -> Result<*mut *const u8, Refused> {
        let (texts, lengths) = self.strings(word, count)?;
        for index in 0..if texts.is_null() { 0 } else { count as usize } {
            // SAFETY: `strings` gave `count` addresses and lengths of bytes that stay.
            let last = unsafe {
                let (text, len) = (texts.add(index).read(), lengths.add(index).read());
                len.checked_sub(1).map(|last| text.add(last).read())
            };
            if last != Some(0) {
                return Err(self.malformed());
            }
        }
        Ok(texts)
    }

    /// Bytes at `word` for the device, where they are; null for none. Where they travel inside of a
    /// command that is not waited for, they are kept until the device has them.
    pub fn bulk_input(&mut self, word: usize) -> Result<*const c_void, Refused> {
        let found = self.reference(word)?;
        match found.place {
            Place::Arena(_) => self.output(word).map(<*mut c_void>::cast_const),
            _ if self.blocks || !self.function.device_time => Ok(self.input(word)?.cast()),
            _ => match self.inline(word)? {
                None => Ok(std::ptr::null()),
                Some(bytes) => {
                    let kept = self.kept.insert(bytes.into());
                    Ok(kept.as_ptr().cast())
                }
            },
        }
    }

    /// What `arg_value` of `clSetKernelArg` and its like points to: the pointer that a handle stands
    /// for, or else `size` bytes; null for neither.
    pub fn handle_or_bytes(&mut self, word: usize, size: u64) -> Result<*const c_void, Refused> {
        match self.named(word)? {
            Some((_, pointer)) if size == 8 => self.place(pointer),
            Some(_) => Err(self.malformed()),
            None => self.bytes(word, size),
        }
    }

    /// Kind and pointer of the object that may stand in place of the bytes beside it, at `word`.
    pub fn named(&self, word: usize) -> Result<Option<(usize, *mut c_void)>, Refused> {
        let handle = Handle(self.call.word(word));
        if handle.is_null() {
            return Ok(None);
        }
        let found = self.session.objects.find_any(handle);
        let (kind, pointer, _) = found.ok_or_else(|| self.malformed())?;
        Ok(Some((kind, pointer)))
    }

    /// The `size` bytes that may be there beside or in place of a handle at `word`; null for none.
    pub fn bytes(&mut self, word: usize, size: u64) -> Result<*const c_void, Refused> {
        let bytes = self.input(word + 1)?;
        if !bytes.is_null() && self.reference(word + 1)?.len != size {
            return Err(self.malformed());
        }
        Ok(bytes.cast())
    }

    /// A place that holds `pointer`.
    pub fn place(&mut self, pointer: *mut c_void) -> Result<*const c_void, Refused> {
        let place: *mut usize = self.scratch.take(size_of::<usize>()).cast();
        // SAFETY: `take` gave eight bytes.
        unsafe { place.write(pointer.expose_provenance()) };
        Ok(place.cast_const().cast())
    }

    /// Private memory of `len` bytes, all zero, until the turn is over.
    pub fn zeros(&mut self, len: u64) -> Result<*mut c_void, Refused> {
        if len > MAX_COPIED {
            return Err(self.malformed());
        }
        let memory = self.scratch.take(len as usize);
        // SAFETY: `take` gave that many bytes.
        unsafe { memory.write_bytes(0, len as usize) };
        Ok(memory.cast())
    }

    /// Bytes of the reference at `word`; 0 for null.
    pub fn len(&self, word: usize) -> u64 {
        self.call.reference(word).map_or(0, |found| found.len)
    }

    /// Whether the reference at `word` is null.
    pub fn is_null(&self, word: usize) -> bool {
        self.call
            .reference(word)
            .is_none_or(|found| found.place == Place::Null)
    }

    fn reference(&self, word: usize) -> Result<Reference, Refused> {
        self.call.reference(word).ok_or_else(|| self.malformed())
    }

    fn inline(&self, word: usize) -> Result<Option<&'a [u8]>, Refused> {
        let found = self.reference(word)?;
        match found.place {
            Place::Null => Ok(None),
            _ => match self.call.inline(found) {
                Some(bytes) => Ok(Some(bytes)),
                None => Err(self.malformed()),
            },
        }
    }

    /// A private copy of arena bytes.
    fn copy_out(&mut self, at: u64, len: u64) -> Result<*mut u8, Refused> {
        if len > MAX_COPIED {
            return Err(self.malformed());
        }
        let copy = self.scratch.take(len as usize);
        // SAFETY: `take` gave that many bytes, and they are initialised memory.
        let bytes = unsafe { std::slice::from_raw_parts_mut(copy, len as usize) };
        let read = self.session.arena.memory().read(at, bytes);
        read.map_err(|_| self.malformed())?;
        Ok(copy)
    }

    // The call itself.

    /// All inputs have been taken: if this call may take long, somebody else goes on with the stream
    /// from here.
    pub fn begin(&mut self) {
        let waits_here = self.gated && self.function.order.is_none();
        if self.blocks || waits_here {
            self.seat.step_aside();
        }
        if waits_here {
            // The work is the call itself: it waits for its gate on its own thread.
            self.session.report(self.id, Event::Ready);
            self.session.gates.wait(self.id);
            self.gated = false;
        }
    }

    /// Puts a gate into what the call's work waits for, if it is gated: returns how many events
    /// those are now, and their list. The events so far are the handles at `word`, of which `list`
    /// are the pointers, and there are said to be `said`; the work is to be given to `line`.
    ///
    /// # Safety
    ///
    /// `list` is from [`handles`](Self::handles) for that word, `line` from
    /// [`handle`](Self::handle), both in this turn.
    pub unsafe fn gate(
        &mut self,
        word: usize,
        (said, list): (u32, *const *mut c_void),
        line: *mut c_void,
    ) -> Result<Option<(u32, *const *mut c_void)>, Refused> {
        let count = match list.is_null() {
            true => 0,
            false => self.len(word) as usize / 8,
        };
        // A call that must fail fails without a gate.
        let wrong = list.is_null() != (said == 0) || count != said as usize;
        if !self.gated || line.is_null() || wrong {
            return Ok(None);
        }
        // SAFETY: `handles` gave `count` pointers, which stay until the turn is over.
        let events = (0..count).map(|index| unsafe { list.add(index).read() });
        let events: Vec<*mut c_void> = events.collect();
        if events.iter().any(|event| event.is_null()) {
            return Ok(None);
        }
        // SAFETY: the line is an object of this client, of the kind that the function's table says.
        let Some(gate) = (unsafe { self.library.make_gate(line) }) else {
            return Err(self.malformed());
        };
        let longer: *mut *mut c_void = self.scratch.take(8 * (count + 1)).cast();
        for (index, event) in events.iter().chain([&gate]).enumerate() {
            // SAFETY: `take` gave room for one more than there are events.
            unsafe { longer.add(index).write(*event) };
        }
        for event in &events {
            // SAFETY: the events are objects of this client.
            unsafe { self.library.retain(*event) };
        }
        let waits = Waits {
            events,
            ended: 0,
            watched: false,
        };
        // It may be opened, and let go of, before the call has been made.
        // SAFETY: the gate is new.
        unsafe { self.library.retain(gate) };
        self.gate = Some(gate);
        let library = Arc::clone(self.library);
        // SAFETY: it is from `make_gate`, and one more reference is left for the call.
        unsafe { self.session.gates.close(self.id, library, gate) };
        match self.line() {
            Some((handle, ordered)) if self.blocks => {
                self.expected = Some(handle);
                self.session.tracker.add(Outstanding {
                    library: Arc::clone(self.library),
                    id: self.id,
                    event: std::ptr::null_mut(),
                    line: handle,
                    ordered,
                    done: None,
                    kept: None,
                    watched: false,
                    gated: Some(waits),
                });
                self.session.tracker.sweep(self.session);
            }
            _ => self.waits = Some(waits),
        }
        Ok(Some((count as u32 + 1, longer.cast_const())))
    }

    /// The handle of the line that the call's work is given to, and whether it is in order.
    fn line(&self) -> Option<(u64, bool)> {
        let handle = self.call.word(self.function.order?.line);
        let (_, _, note) = self.session.objects.find_any(Handle(handle))?;
        Some((handle, note & UNORDERED == 0))
    }

    /// The call itself was the device's work, and has taken this long.
    pub fn worked(&mut self, time: Duration) {
        self.worked = Some(time);
    }

    // Outputs.

    /// Where in the arena the output at `word` goes; null for nowhere.
    pub fn output(&mut self, word: usize) -> Result<*mut c_void, Refused> {
        let found = self.reference(word)?;
        let Place::Arena(at) = found.place else {
            return Ok(std::ptr::null_mut());
        };
        let address = self.session.arena.memory().address(at, found.len);
        match address {
            Ok(address) => Ok(address.as_ptr().cast()),
            Err(_) => Err(self.malformed()),
        }
    }

    /// Writes `data` where the output at `word` goes, as much as there is room for.
    pub fn write(&self, word: usize, data: &[u8]) {
        if let Some(Reference {
            place: Place::Arena(at),
            len,
        }) = self.call.reference(word)
        {
            let data = &data[..data.len().min(len as usize)];
            // In range: `check` saw to it.
            let _ = self.session.arena.memory().write(at, data);
        }
    }

    /// Writes `len` bytes at `answer`, which the library has given for the output at `word`, with
    /// handles in place of its own pointers.
    ///
    /// # Safety
    ///
    /// `answer` is null or points to `len` readable bytes.
    pub unsafe fn write_names(&self, word: usize, answer: *const u8, len: u64, naming: Naming) {
        if answer.is_null() {
            return;
        }
        let len = len.min(self.len(word)) as usize;
        // SAFETY: the caller says so.
        let answer = unsafe { std::slice::from_raw_parts(answer, len) };
        let mut translated = Vec::with_capacity(len);
        let mut key = None;
        for value in answer.as_chunks::<8>().0 {
            let value = u64::from_ne_bytes(*value);
            let pointer = std::ptr::with_exposed_provenance_mut(value as usize);
            let is_pointer = match (naming, key.take()) {
                (Naming::Handles, _) => true,
                (Naming::Properties(_), None) => {
                    key = Some(value);
                    false
                }
                (Naming::Properties(keys), Some(key)) => keys.contains(&key),
                (Naming::Text, _) => false,
            };
            let value = match is_pointer {
                true => self.session.objects.handle_of(pointer).0,
                false => value,
            };
            translated.extend_from_slice(&value.to_le_bytes());
        }
        self.write(word, &translated);
    }

    /// Answers a query with text that may name files: the `len` bytes at `text`, as the client knows
    /// its files, where the output at `word` goes, and their number where that at `size_word` goes.
    ///
    /// # Safety
    ///
    /// `text` points to `len` readable bytes.
    pub unsafe fn write_text(
        &self,
        word: usize,
        size_word: usize,
        text: *const u8,
        len: usize,
    ) -> Result<(), Refused> {
        // SAFETY: the caller says so.
        let text = crate::files::restore(unsafe { std::slice::from_raw_parts(text, len) });
        if !self.is_null(word) && self.len(word) < text.len() as u64 {
            return Err(self.malformed());
        }
        self.write(word, &text);
        self.write(size_word, &(text.len() as u64).to_le_bytes());
        Ok(())
    }

    /// Lets the handle that is proposed at `word`, if any, stand for `pointer`, unless that is null.
    /// Must be called for every proposed handle, in the order of the function's parameters.
    pub fn bind(&mut self, word: usize, kind: usize, pointer: *mut c_void, note: u64, named: bool) {
        let handle = Handle(self.call.word(word));
        if !handle.is_null() {
            self.bind_handle(handle, kind, pointer, note, named);
        }
    }

    /// Lets the handles that are proposed in the list at `word` stand for those of the `found`
    /// objects that have none yet, and writes the handles of all of them where the answer goes.
    pub fn bind_found(&mut self, word: usize, kind: usize, found: &[*mut c_void]) {
        let mut answer = Vec::new();
        for (index, proposed) in weir_wire::check::handle_list(&self.call, word).enumerate() {
            let pointer = found.get(index).copied().unwrap_or(std::ptr::null_mut());
            let known = match pointer.is_null() {
                true => Handle::NULL,
                false => self.session.objects.handle_of(pointer),
            };
            let named = match known.is_null() && !pointer.is_null() {
                true => proposed,
                false => known,
            };
            let new = if named == proposed {
                pointer
            } else {
                std::ptr::null_mut()
            };
            self.bind_handle(proposed, kind, new, 0, true);
            answer.extend_from_slice(&named.0.to_le_bytes());
        }
        self.write(word + 2, &answer);
    }

    /// Lets the handles that are proposed in the list at `word` stand for the objects of `list`, and
    /// writes the handles of those that there are where the answer goes.
    ///
    /// # Safety
    ///
    /// `list` is null or has as many pointers as handles are proposed, null for what was not made.
    pub unsafe fn bind_list(
        &mut self,
        word: usize,
        kind: usize,
        list: *const *mut c_void,
        named: bool,
    ) {
        let mut answer = Vec::new();
        for (index, proposed) in weir_wire::check::handle_list(&self.call, word).enumerate() {
            let pointer = match list.is_null() {
                true => std::ptr::null_mut(),
                // SAFETY: the caller says that there are as many.
                false => unsafe { list.add(index).read() },
            };
            self.bind_handle(proposed, kind, pointer, 0, named);
            let made = if pointer.is_null() {
                Handle::NULL
            } else {
                proposed
            };
            answer.extend_from_slice(&made.0.to_le_bytes());
        }
        self.write(word + 2, &answer);
    }

    fn bind_handle(
        &mut self,
        handle: Handle,
        kind: usize,
        pointer: *mut c_void,
        note: u64,
        named: bool,
    ) {
        if !pointer.is_null() {
            let kept = match self.function.keeps {
                // (The VMM sends on no call for which it has no value.)
                Some(keeps) if self.proposed == 0 => keeps(&self.call, &|handle| self.kept(handle)),
                _ => None,
            };
            let known = Known {
                note,
                kept: kept.unwrap_or_default(),
                can_be_named: named,
            };
            self.session.objects.bind(handle, kind, pointer, known);
            let word = self.proposed as usize / 64;
            if word >= self.bound.len() {
                self.bound.resize(word + 1, 0);
            }
            self.bound[word] |= 1 << (self.proposed % 64);
        }
        self.proposed += 1;
    }

    /// The device has been given a command: `event` (of which one reference is ours from now on)
    /// tells when it has ended. It belongs to the line (such as a queue) whose handle is at `line`
    /// and whose note is `note`.
    pub fn track(&mut self, event: *mut c_void, line: usize, note: u64) {
        self.outstanding = Some(Outstanding {
            library: Arc::clone(self.library),
            id: self.id,
            event,
            line: self.call.word(line),
            ordered: note & UNORDERED == 0,
            done: self.done,
            kept: self.kept.take(),
            watched: false,
            gated: self.waits.take(),
        });
    }

    /// The reference at `word` is to the "complete" word. Must come before [`track`](Self::track).
    pub fn done_at(&mut self, word: usize) {
        if let Some(Reference {
            place: Place::Arena(at),
            ..
        }) = self.call.reference(word)
        {
            self.done = Some(at);
        }
    }

    // The end.

    /// What is expected in the line has become `command`, or nothing.
    fn arrive(&mut self, command: Option<Outstanding>) {
        if let Some(line) = self.expected.take() {
            self.session.tracker.arrive(self.id, line, command);
        }
    }

    /// No work of the call is left.
    fn ended_at_once(&mut self, error: i32) {
        if let Some(at) = self.done {
            write_failed(self.session, at);
        }
        if let Some(waits) = self.waits.take() {
            for event in waits.events {
                // SAFETY: the reference was taken in `gate`, and this is its last use.
                unsafe { self.library.release(event) };
            }
        }
        self.arrive(None);
        if self.gate.is_some() {
            self.session.gates.forget(self.id);
        }
        if self.function.device_time && error == 0 && self.worked.is_none() {
            self.session
                .report(self.id, Event::Executed { device_ns: 0 });
        }
    }

    /// Nobody waits for the call, which has failed: the event that it was to make tells so, if it was
    /// to make one and nothing else.
    fn fail_event(&mut self, error: i32) {
        let mut new = self.function.params.iter().filter_map(|p| match p.passing {
            Passing::New { kind, .. } => Some((Handle(self.call.word(p.word)), kind)),
            Passing::NewArray { .. } => Some((Handle::NULL, 0)),
            _ => None,
        });
        let (Some((event, kind)), None, Some(order)) =
            (new.next(), new.next(), self.function.order)
        else {
            return;
        };
        let line = Handle(self.call.word(order.line));
        let Some((_, line, _)) = self.session.objects.find_any(line) else {
            return;
        };
        if event.is_null() || self.bound.iter().any(|word| *word != 0) {
            return;
        }
        // SAFETY: the line is an object of this client, of the kind that the function's table says.
        if let Some(failed) = unsafe { self.library.make_failed(line, error) } {
            let known = Known {
                note: 0,
                kept: 0,
                can_be_named: false,
            };
            self.session.objects.bind(event, kind, failed, known);
            self.bound = vec![1];
        }
    }

    fn finish(mut self, made: Made) {
        let answer = made.unwrap_or_else(|Refused(code)| {
            let value = match self.function.failure {
                Failure::Return => code as i32 as u32 as u64,
                Failure::Out(_) => 0,
            };
            Answer {
                value,
                error: code as i32,
            }
        });
        let header = self.call.header;
        if let Failure::Out(word) = self.function.failure {
            self.write(word, &answer.error.to_le_bytes());
        }
        if self.call.header.seq == 0 && answer.error != 0 {
            self.fail_event(answer.error);
        }
        if let Some(time) = self.worked {
            let device_ns = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
            self.session.report(self.id, Event::Executed { device_ns });
        }
        for (word, bound) in (0..).zip(&self.bound).skip(1) {
            let bound = *bound;
            self.session.report(self.id, Event::Bound { word, bound });
        }
        let called = Event::Called {
            bound: self.bound.first().copied().unwrap_or_default(),
            error: answer.error,
        };
        self.session.report(self.id, called);
        let gated = self.outstanding.as_ref().is_some_and(|c| c.gated.is_some());
        match self.outstanding.take() {
            command @ Some(_) if self.expected.is_some() => self.arrive(command),
            Some(command) => self.session.tracker.add(command),
            None => self.ended_at_once(answer.error),
        }
        if let Some(gate) = self.gate.take() {
            // SAFETY: the reference was taken in `gate`, and this is its last use.
            unsafe { self.library.release(gate) };
        }
        if gated {
            // It may be ready already.
            self.session.tracker.sweep(self.session);
        }
        if header.seq != 0 {
            self.session.tracker.sweep(self.session);
            self.session.reply(header.lane, header.seq, answer.value);
        } else if answer.error != 0 && self.function.releases.is_none() {
            // (What cannot be released was never made, and that has been reported.)
            let line = self.function.order.map(|order| self.call.word(order.line));
            let line = Handle(line.unwrap_or(0));
            self.session.arena.put_error(line, answer.error);
        }
    }
}

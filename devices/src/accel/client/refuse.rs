//! How the caller of a command that is refused gets to know.

use weir_wire::arena::{Arena, DATA_OFFSET, MAX_LANES, SLOT_SEQ};
use weir_wire::command::{Call, Header, Place};
use weir_wire::function::Failure;
use weir_wire::handle::Handle;

use super::super::events::Kind;
use super::Client;
use super::call::{Refusal, frame};

/// Name of the parameter that says where to note that a queued call is over; see `docs/wire.md`.
const DONE: &str = "__done";
/// What is noted there where it has failed.
const FAILED: i32 = 2;

impl Client {
    /// Tells the caller of the command that `bytes` begin with that it is refused.
    pub(super) fn refuse(&mut self, bytes: &[u8], refusal: Refusal) {
        let Refusal { api, code } = refusal;
        let header = Header::read(bytes);
        let function = header.and_then(|header| api.functions.get(usize::from(header.function)));
        let name = function.map_or("?", |function| function.name);
        self.meter.refused.add(1);
        self.meter
            .note(Kind::Refused, format_args!("call={name} code={code}"));
        let call = function.and_then(|function| Call::new(frame(bytes)?, function.words));
        let done = function.and_then(|f| f.params.iter().find(|param| param.name == DONE));
        if let (Some(call), Some(done)) = (&call, done) {
            self.put_word(call, done.word, FAILED);
        }
        let header = header.filter(|header| header.seq != 0);
        let Some(header) = header.filter(|header| header.lane < MAX_LANES) else {
            // A release that nobody waits for fails where its object was never made, which has been
            // told.
            if function.is_none_or(|function| function.releases.is_none()) {
                let order = function.and_then(|function| function.order);
                let line = order.zip(call).map(|(order, call)| call.word(order.line));
                self.arena.put_error(Handle(line.unwrap_or(0)), code as i32);
            }
            return;
        };
        let value = match function.map(|function| function.failure) {
            Some(Failure::Out(word)) => {
                if let Some(call) = &call {
                    self.put_word(call, word, code as i32);
                }
                0
            }
            _ => code as u64,
        };
        if self.arena.reply(header.lane, header.seq, value) {
            let lane = Arena::lane_offset(header.lane);
            self.wake.word(&self.arena, lane + SLOT_SEQ);
        }
    }

    /// Writes `value` to where the reference at `word` says, if it says a place where it may: the
    /// command itself may be all wrong.
    fn put_word(&self, call: &Call<'_>, word: usize, value: i32) {
        if let Some(found) = call.reference(word)
            && let Place::Arena(at) = found.place
            && at >= DATA_OFFSET
            && found.len >= 4
        {
            // Refuses by itself what lies beyond the arena's end.
            let _ = self.arena.memory().write(at, &value.to_le_bytes());
        }
    }
}

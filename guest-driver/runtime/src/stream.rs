//! The one ordered stream of a client's commands.
//!
//! All threads append to it, so what one thread did before another reaches the vendor library before
//! it too. Commands gather in a batch, and a batch goes out
//! - with a call that waits, or one that asks for it;
//! - when it is full;
//! - early, when it brings work for the device: the first launch after an answer goes out by itself,
//!   then the second and third together, then four, and so on up to [`MAX_LAUNCHES`]. So the device
//!   starts at once, and a long row of launches costs few announcements.
//!
//! Batches lie in the arena's stream area, used as a ring; none wraps around its end.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use weir_wire::arena::{Arena, MAX_BATCHES, STREAM_OFFSET, STREAM_SIZE};

use crate::lock;
use crate::transport::Transport;

/// Bytes at which a batch is full. A single longer command makes a batch of its own.
const FULL: u64 = 16 << 10;
/// Most launches that gather in a batch.
const MAX_LAUNCHES: u32 = 32;

/// When a command goes out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Urgency {
    /// With what comes later.
    Later,
    /// It gives the device work.
    Launch,
    /// At once, with all before it.
    Now,
}

/// The client is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lost;

/// The stream.
#[derive(Debug)]
pub struct Stream {
    ring: Mutex<Ring>,
    /// Launches that go out together next; back to one with each answer.
    together: AtomicU32,
}

/// Positions count bytes without end; a position's place in the ring is the rest modulo its size.
#[derive(Debug, Default)]
struct Ring {
    /// Where the batch begins that is being filled, and how long it is.
    begin: u64,
    len: u64,
    launches: u32,
    /// Batches sent so far.
    sent: u64,
    /// Ends of the batches that are sent and perhaps not taken yet, oldest first.
    ends: VecDeque<u64>,
    /// All before this position has been taken.
    free: u64,
}

impl Default for Stream {
    fn default() -> Stream {
        Stream {
            ring: Mutex::default(),
            together: AtomicU32::new(1),
        }
    }
}

impl Stream {
    /// Appends one encoded command.
    pub fn append(
        &self,
        arena: &Arena,
        transport: &dyn Transport,
        command: &[u8],
        urgency: Urgency,
    ) -> Result<(), Lost> {
        let mut ring = lock(&self.ring);
        let len = command.len() as u64;
        if ring.len > 0 && (ring.len + len > FULL || ring.to_end() < ring.len + len) {
            ring.send(arena, transport)?;
        }
        if ring.len == 0 {
            let to_end = ring.to_end();
            if to_end < len {
                ring.begin += to_end;
            }
        }
        ring.make_room(arena, len)?;
        let at = STREAM_OFFSET + (ring.begin + ring.len) % STREAM_SIZE;
        arena.memory().write(at, command).map_err(|_| Lost)?;
        ring.len += len;

        let due = match urgency {
            Urgency::Later => false,
            Urgency::Now => true,
            Urgency::Launch => {
                ring.launches += 1;
                let together = self.together.load(Ordering::Relaxed);
                let due = ring.launches >= together;
                if due {
                    let more = (2 * together).min(MAX_LAUNCHES);
                    self.together.store(more, Ordering::Relaxed);
                }
                due
            }
        };
        if due || ring.len >= FULL {
            ring.send(arena, transport)?;
        }
        Ok(())
    }

    /// Sends whatever has gathered.
    pub fn flush(&self, arena: &Arena, transport: &dyn Transport) -> Result<(), Lost> {
        lock(&self.ring).send(arena, transport)
    }

    /// Says that an answer has come: the device may be idle.
    pub fn answered(&self) {
        self.together.store(1, Ordering::Relaxed);
    }
}

impl Ring {
    /// Bytes from the batch's beginning to the end of the ring.
    fn to_end(&self) -> u64 {
        STREAM_SIZE - self.begin % STREAM_SIZE
    }

    fn send(&mut self, arena: &Arena, transport: &dyn Transport) -> Result<(), Lost> {
        if self.len == 0 {
            return Ok(());
        }
        self.wait_until(arena, |ring| (ring.ends.len() as u64) < MAX_BATCHES)?;
        let offset = STREAM_OFFSET + self.begin % STREAM_SIZE;
        transport
            .submit(offset as u32, self.len as u32)
            .map_err(|_| Lost)?;
        self.begin += self.len;
        self.ends.push_back(self.begin);
        self.sent += 1;
        self.len = 0;
        self.launches = 0;
        Ok(())
    }

    fn make_room(&mut self, arena: &Arena, len: u64) -> Result<(), Lost> {
        self.wait_until(arena, |ring| {
            ring.begin + ring.len + len - ring.free <= STREAM_SIZE
        })
    }

    /// Waits until the mediator has taken enough batches. It does so long before the device has
    /// executed them, so this is short and rare, and nobody is there to wake a sleeper.
    fn wait_until(&mut self, arena: &Arena, enough: impl Fn(&Ring) -> bool) -> Result<(), Lost> {
        let mut turn = 0_u32;
        while !enough(self) {
            self.forget_taken(arena);
            if arena.lost().is_some() {
                return Err(Lost);
            }
            turn = turn.saturating_add(1);
            match turn {
                0..50 => std::thread::yield_now(),
                _ => std::thread::sleep(Duration::from_micros(50)),
            }
        }
        Ok(())
    }

    fn forget_taken(&mut self, arena: &Arena) {
        // The count is the mediator's; were it wrong, this client alone would suffer.
        let waiting = self.sent.saturating_sub(arena.consumed());
        while self.ends.len() as u64 > waiting {
            match self.ends.pop_front() {
                Some(end) => self.free = end,
                None => break,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transport::Sleep;
    use std::io;
    use weir_wire::arena::MIN_SIZE;

    /// Takes each batch at once, or only keeps it.
    struct Taker {
        arena: Arena,
        at_once: bool,
        batches: Mutex<Vec<Vec<u8>>>,
    }

    impl Transport for Taker {
        fn submit(&self, offset: u32, len: u32) -> io::Result<()> {
            let mut batch = vec![0; len as usize];
            assert!(u64::from(offset) >= STREAM_OFFSET);
            assert!(u64::from(offset) + u64::from(len) <= STREAM_OFFSET + STREAM_SIZE);
            self.arena.memory().read(offset.into(), &mut batch).unwrap();
            lock(&self.batches).push(batch);
            if self.at_once {
                self.arena.set_consumed(self.arena.consumed() + 1);
            }
            Ok(())
        }

        fn wait(&self, _: &Arena, _: u32, _: u32, _: Duration) -> Sleep {
            Sleep::Gone
        }
    }

    fn fixture(at_once: bool) -> (Arena, Taker, Stream) {
        let (arena, file) = Arena::create(MIN_SIZE).unwrap();
        let taker = Taker {
            arena: Arena::map(file, MIN_SIZE).unwrap(),
            at_once,
            batches: Mutex::new(Vec::new()),
        };
        (arena, taker, Stream::default())
    }

    #[test]
    fn commands_arrive_whole_and_in_order_around_the_ring() {
        let (arena, taker, stream) = fixture(true);
        let mut expected = Vec::new();
        for i in 0..5000_u32 {
            let command = vec![i as u8; 16 + 8 * (i as usize * 37 % 300)];
            expected.extend_from_slice(&command);
            stream
                .append(&arena, &taker, &command, Urgency::Later)
                .unwrap();
        }
        stream.flush(&arena, &taker).unwrap();
        let batches = lock(&taker.batches);
        assert!(batches.concat() == expected);
        assert!(
            batches
                .iter()
                .all(|batch| batch.len() as u64 <= FULL + 4096)
        );
    }

    #[test]
    fn launches_gather_more_and_more() {
        let (arena, taker, stream) = fixture(true);
        let launch = || {
            stream
                .append(&arena, &taker, &[0; 16], Urgency::Launch)
                .unwrap()
        };
        (0..7).for_each(|_| launch());
        let sizes = |t: &Taker| {
            lock(&t.batches)
                .iter()
                .map(|b| b.len() / 16)
                .collect::<Vec<_>>()
        };
        assert_eq!(sizes(&taker), [1, 2, 4]);
        stream.answered();
        launch();
        assert_eq!(sizes(&taker), [1, 2, 4, 1]);
    }

    #[test]
    fn it_waits_when_too_much_is_untaken() {
        let (arena, taker, stream) = fixture(false);
        for _ in 0..MAX_BATCHES {
            stream
                .append(&arena, &taker, &[1; 16], Urgency::Now)
                .unwrap();
        }
        std::thread::scope(|scope| {
            let late = scope.spawn(|| stream.append(&arena, &taker, &[2; 16], Urgency::Now));
            std::thread::sleep(Duration::from_millis(20));
            assert_eq!(lock(&taker.batches).len() as u64, MAX_BATCHES);
            taker.arena.set_consumed(1);
            late.join().unwrap().unwrap();
        });
        assert_eq!(lock(&taker.batches).len() as u64, MAX_BATCHES + 1);
    }

    #[test]
    fn a_lost_client_does_not_wait() {
        let (arena, taker, stream) = fixture(false);
        for _ in 0..MAX_BATCHES {
            stream
                .append(&arena, &taker, &[1; 16], Urgency::Now)
                .unwrap();
        }
        arena.set_lost(weir_wire::arena::Lost::Worker);
        assert_eq!(
            stream.append(&arena, &taker, &[2; 16], Urgency::Now),
            Err(Lost)
        );
    }
}

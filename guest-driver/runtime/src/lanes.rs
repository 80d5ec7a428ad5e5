//! Reply slots, and waiting in them.
//!
//! A thread that waits takes a lane for as long as its call lasts. Each thread prefers a lane of
//! its own, so taking it is one uncontended exchange; only where more threads are in calls at the
//! same time than there are lanes does one wait for another.

use std::cell::Cell;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Condvar, Mutex};
use std::time::{Duration, Instant};

use weir_wire::arena::{Arena, MAX_LANES, SLOT_SEQ};

use crate::lock;
use crate::transport::{Sleep, Transport};

/// Bytes of arena memory that stay with a lane for its calls' small outputs.
pub const SCRATCH: u64 = 4096;

/// How long one sleep lasts at most, before the thread looks whether the client still exists.
const SLEEP_SLICE: Duration = Duration::from_secs(1);

/// The lanes of a client.
#[derive(Debug)]
pub struct Lanes {
    lanes: Box<[State]>,
    next: AtomicU32,
    /// Threads that wait for a free lane, and what wakes them.
    waiting: AtomicU32,
    freed: (Mutex<()>, Condvar),
    spin: Spin,
}

#[derive(Debug, Default)]
#[repr(align(64))]
struct State {
    busy: AtomicBool,
    seq: AtomicU32,
    scratch: AtomicU64,
}

/// A lane in use by one call.
#[derive(Debug)]
pub struct Lane<'a> {
    lanes: &'a Lanes,
    index: u32,
}

thread_local! {
    /// The lane that this thread prefers, plus one.
    static PREFERRED: Cell<u32> = const { Cell::new(0) };
}

impl Default for Lanes {
    /// All lanes, free.
    fn default() -> Lanes {
        Lanes {
            lanes: (0..MAX_LANES).map(|_| State::default()).collect(),
            next: AtomicU32::new(0),
            waiting: AtomicU32::new(0),
            freed: Default::default(),
            spin: Spin::new(),
        }
    }
}

impl Lanes {
    /// Takes a lane; waits for one if all are in use.
    pub fn take(&self) -> Lane<'_> {
        let preferred = self.preferred();
        loop {
            let free = (0..MAX_LANES)
                .map(|i| (preferred + i) % MAX_LANES)
                .find(|i| self.try_take(*i));
            if let Some(index) = free {
                return Lane { lanes: self, index };
            }
            // A lane freed between the look and the sleep is found after the time is over.
            self.waiting.fetch_add(1, Ordering::Relaxed);
            let freed = lock(&self.freed.0);
            drop(self.freed.1.wait_timeout(freed, Duration::from_millis(1)));
            self.waiting.fetch_sub(1, Ordering::Relaxed);
        }
    }

    fn try_take(&self, index: u32) -> bool {
        let busy = &self.lanes[index as usize].busy;
        !busy.load(Ordering::Relaxed) && !busy.swap(true, Ordering::Acquire)
    }

    fn preferred(&self) -> u32 {
        let new = || self.next.fetch_add(1, Ordering::Relaxed) % MAX_LANES;
        // A thread that is being torn down has no such variable any more.
        PREFERRED
            .try_with(|cell| match cell.get() {
                0 => {
                    let lane = new();
                    cell.set(lane + 1);
                    lane
                }
                lane => lane - 1,
            })
            .unwrap_or_else(|_| new())
    }
}

impl Lane<'_> {
    /// The lane's number.
    pub fn index(&self) -> u32 {
        self.index
    }

    fn state(&self) -> &State {
        &self.lanes.lanes[self.index as usize]
    }

    /// The number for the lane's next call; never 0.
    pub fn next_seq(&self) -> u32 {
        let seq = self
            .state()
            .seq
            .load(Ordering::Relaxed)
            .wrapping_add(1)
            .max(1);
        self.state().seq.store(seq, Ordering::Relaxed);
        seq
    }

    /// Where the lane's [`SCRATCH`] bytes of arena lie; `allocate` provides them the first time.
    pub fn scratch(&self, allocate: impl FnOnce() -> Option<u64>) -> Option<u64> {
        match self.state().scratch.load(Ordering::Relaxed) {
            0 => {
                let at = allocate()?;
                self.state().scratch.store(at, Ordering::Relaxed);
                Some(at)
            }
            at => Some(at),
        }
    }

    /// Waits for the answer to call `seq`: a while awake, then asleep. `None` if the client is lost.
    pub fn wait(&self, arena: &Arena, transport: &dyn Transport, seq: u32) -> Option<u64> {
        let started = Instant::now();
        let mut answer = None;
        self.lanes.spin.until(started, || {
            answer = arena.answer(self.index, seq);
            answer.is_some() || arena.lost().is_some()
        });
        let slot = Arena::lane_offset(self.index) + SLOT_SEQ;
        while answer.is_none() {
            if arena.lost().is_some() {
                // The answer may have come just before the end.
                return arena.answer(self.index, seq);
            }
            let word = arena
                .memory()
                .atomic_u32(slot)
                .ok()?
                .load(Ordering::Acquire);
            let slept = if word == seq {
                Sleep::Look
            } else {
                transport.wait(arena, slot as u32, word, SLEEP_SLICE)
            };
            answer = arena.answer(self.index, seq);
            if slept == Sleep::Gone {
                return answer;
            }
        }
        self.lanes.spin.learn(started.elapsed());
        answer
    }
}

impl Drop for Lane<'_> {
    fn drop(&mut self) {
        self.state().busy.store(false, Ordering::Release);
        if self.lanes.waiting.load(Ordering::Relaxed) > 0 {
            self.lanes.freed.1.notify_one();
        }
    }
}

/// How long it pays to stay awake for an answer.
#[derive(Debug)]
struct Spin {
    /// Running mean of how long answers took, in nanoseconds.
    mean: AtomicU64,
    /// Looks before the thread lets others run in between.
    eager: u32,
}

impl Spin {
    const LONGEST: u64 = 50_000;
    const SHORTEST: u64 = 2_000;

    fn new() -> Spin {
        let cpus = std::thread::available_parallelism().map_or(1, |n| n.get());
        Spin {
            mean: AtomicU64::new(Self::LONGEST / 4),
            // Where CPUs are few, the one that answers may be waiting for this one.
            eager: if cpus <= 2 { 20 } else { 2_000 },
        }
    }

    /// Awake for twice as long as answers usually take; but where they take longer than a sleep
    /// costs, hardly at all.
    fn budget(&self) -> Duration {
        let mean = self.mean.load(Ordering::Relaxed);
        Duration::from_nanos(match mean {
            _ if mean > 2 * Self::LONGEST => Self::SHORTEST,
            _ => (2 * mean).clamp(Self::SHORTEST, Self::LONGEST),
        })
    }

    fn until(&self, started: Instant, mut done: impl FnMut() -> bool) {
        let budget = self.budget();
        for turn in 1_u32.. {
            if done() {
                return;
            }
            if turn < self.eager {
                std::hint::spin_loop();
                if !turn.is_multiple_of(32) {
                    continue;
                }
            } else {
                std::thread::yield_now();
            }
            if started.elapsed() > budget {
                return;
            }
        }
    }

    fn learn(&self, took: Duration) {
        let took = (took.as_nanos() as u64).min(8 * Self::LONGEST);
        let mean = self.mean.load(Ordering::Relaxed);
        self.mean.store((7 * mean + took) / 8, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicU32;

    #[test]
    fn a_thread_gets_its_lane_again_and_two_never_share_one() {
        let lanes = Lanes::default();
        let first = lanes.take();
        let index = first.index();
        let second = lanes.take();
        assert_ne!(second.index(), index);
        drop(first);
        assert_eq!(lanes.take().index(), index);
    }

    #[test]
    fn numbers_go_round_without_zero() {
        let lanes = Lanes::default();
        let lane = lanes.take();
        lane.state().seq.store(u32::MAX - 1, Ordering::Relaxed);
        assert_eq!(lane.next_seq(), u32::MAX);
        assert_eq!(lane.next_seq(), 1);
    }

    #[test]
    fn more_threads_than_lanes_take_turns() {
        let lanes = Lanes::default();
        let inside = AtomicU32::new(0);
        std::thread::scope(|scope| {
            for _ in 0..MAX_LANES + 44 {
                scope.spawn(|| {
                    for _ in 0..20 {
                        let lane = lanes.take();
                        let state = lane.state();
                        assert_eq!(state.seq.swap(1, Ordering::Relaxed), 0);
                        assert!(inside.fetch_add(1, Ordering::Relaxed) < MAX_LANES);
                        std::thread::yield_now();
                        inside.fetch_sub(1, Ordering::Relaxed);
                        state.seq.store(0, Ordering::Relaxed);
                    }
                });
            }
        });
    }
}

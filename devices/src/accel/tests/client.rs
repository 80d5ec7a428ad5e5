//! The way of a call through one client.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use proptest::prelude::*;
use weir_wire::arena::{
    Arena, DATA_OFFSET, Lost, MAX_BATCHES, MIN_SIZE, STREAM_OFFSET, STREAM_SIZE,
};
use weir_wire::channel::Event;
use weir_wire::check::check;
use weir_wire::command::MAX_COMMAND;
use weir_wire::function::NOTHING_KEPT;
use weir_wire::handle::{Handle, MAX_PROPOSALS};

use super::super::admit::{Admission, Decision, Request};
use super::super::client::Announced;
use super::RaisedAtEnd;
use super::bench::Bench;
use super::toy::{self, NOBODY, caller};

const NULL: Handle = Handle::NULL;

fn h(slot: u32, generation: u32) -> Handle {
    Handle::new(slot, generation)
}

fn read_error(bench: &Bench, at: u64) -> i32 {
    let mut bytes = [0; 4];
    bench.arena.memory().read(at, &mut bytes).unwrap();
    i32::from_le_bytes(bytes)
}

#[test]
fn commands_reach_the_worker_as_they_are_and_are_counted() {
    let mut bench = Bench::new(100);
    let commands = [toy::ping(caller(0, 1), 5), toy::ping(NOBODY, 6)];
    let sent = bench.send(&commands.concat());
    assert_eq!(sent.len(), 2);
    assert_eq!(
        (sent[0].1.as_slice(), sent[1].1.as_slice()),
        (&*commands[0], &*commands[1])
    );
    assert!(sent[0].0 < sent[1].0);
    let stats = bench.stats().traffic;
    assert_eq!((stats.calls, stats.batches, stats.refused), (2, 1, 0));
    assert_eq!(stats.bytes_in, commands.concat().len() as u64);
    assert_eq!(bench.arena.consumed(), 1);
}

#[test]
fn traffic_counts_what_lies_in_the_arena() {
    let mut bench = Bench::new(100);
    let [place, len] = toy::arena(DATA_OFFSET, 1000);
    let write = toy::command(toy::WRITE, NOBODY, &[place, len]);
    let read = toy::command(toy::READ, NOBODY, &[1000, place, len]);
    assert_eq!(bench.send(&[write.clone(), read.clone()].concat()).len(), 2);
    let stats = bench.stats().traffic;
    assert_eq!(stats.bytes_in, 1000 + (write.len() + read.len()) as u64);
    assert_eq!(stats.bytes_out, 1000);
}

#[test]
fn a_malformed_command_is_answered_and_the_rest_goes_on() {
    let mut bench = Bench::new(100);
    let outside = toy::arena(MIN_SIZE - 8, 16);
    let bad = toy::command(toy::READ, caller(3, 9), &[16, outside[0], outside[1]]);
    let good = toy::ping(NOBODY, 1);
    assert_eq!(bench.send(&[bad, good].concat()).len(), 1);
    assert_eq!(bench.answer(caller(3, 9)), Some(toy::MALFORMED));
    assert_eq!(bench.stats().traffic.refused, 1);
}

#[test]
fn an_error_that_nobody_waits_for_is_kept() {
    let mut bench = Bench::new(100);
    assert!(bench.send(&toy::retain(NOBODY, h(3, 1))).is_empty());
    assert_eq!(i64::from(bench.arena.take_error(&[])), toy::NO_BOX);
    // That there is nothing to release was the error of an earlier call.
    assert!(bench.send(&toy::release(NOBODY, h(3, 1))).is_empty());
    assert_eq!(bench.arena.take_error(&[]), 0);
}

#[test]
fn a_queued_call_that_is_refused_is_over() {
    let mut bench = Bench::new(100);
    let [place, len] = toy::arena(DATA_OFFSET, 4);
    let words = [h(3, 1).0, place, len];
    assert!(
        bench
            .send(&toy::command(toy::QUEUE, NOBODY, &words))
            .is_empty()
    );
    assert_eq!(read_error(&bench, DATA_OFFSET), 2);
    assert_eq!(i64::from(bench.arena.take_error(&[])), toy::NO_BOX);
}

#[test]
fn what_is_not_known_is_not_supported() {
    let mut bench = Bench::new(100);
    bench.send(&toy::command(999, caller(0, 1), &[]));
    assert_eq!(bench.answer(caller(0, 1)), Some(toy::UNSUPPORTED));
    let mut other_api = toy::ping(caller(0, 2), 1);
    other_api[4..6].copy_from_slice(&99u16.to_le_bytes());
    bench.send(&other_api);
    assert_eq!(bench.answer(caller(0, 2)), Some(toy::UNSUPPORTED));
}

#[test]
fn a_size_that_cannot_be_ends_its_batch_only() {
    for size in [0u32, 8, 17, MAX_COMMAND as u32 + 8, u32::MAX] {
        let mut bench = Bench::new(100);
        let mut bad = toy::ping(caller(1, 7), 1);
        bad[0..4].copy_from_slice(&size.to_le_bytes());
        let batch = [toy::ping(NOBODY, 1), bad, toy::ping(NOBODY, 2)].concat();
        assert_eq!(bench.send(&batch).len(), 1, "{size}");
        assert_eq!(bench.answer(caller(1, 7)), Some(toy::MALFORMED), "{size}");
        assert_eq!(bench.send(&toy::ping(NOBODY, 3)).len(), 1, "{size}");
    }
}

#[test]
fn a_lane_that_is_none_gets_no_answer() {
    let mut bench = Bench::new(100);
    assert!(bench.send(&toy::ping(caller(256, 1), 1)).is_empty());
    assert!(bench.send(&toy::ping(caller(u32::MAX, 1), 1)).is_empty());
    assert_eq!(i64::from(bench.arena.take_error(&[])), toy::MALFORMED);
}

#[test]
fn batches_outside_of_the_stream_are_refused() {
    let end = (STREAM_OFFSET + STREAM_SIZE) as u32;
    let start = STREAM_OFFSET as u32;
    for (offset, length, flags) in [
        (start, 0, 0),
        (0, 64, 0),
        (start - 8, 64, 0),
        (end - 8, 16, 0),
        (end, 8, 0),
        (u32::MAX, u32::MAX, 0),
        (start, u32::MAX, 0),
        (start, 24, 1),
    ] {
        let mut bench = Bench::new(100);
        bench
            .arena
            .memory()
            .write(STREAM_OFFSET, &toy::ping(NOBODY, 1))
            .unwrap();
        let announced = Announced {
            offset,
            length,
            flags,
        };
        bench.client.announce(announced).unwrap();
        bench.settle();
        assert!(bench.sent().is_empty(), "{announced:?}");
        assert_eq!(i64::from(bench.arena.take_error(&[])), toy::MALFORMED);
        assert_eq!(bench.arena.consumed(), 1);
        assert_eq!(bench.stats().traffic.refused, 1);
    }
}

#[test]
fn more_batches_than_may_be_pending_end_the_client() {
    let mut bench = Bench::new(100);
    let announced = Announced {
        offset: STREAM_OFFSET as u32,
        length: 24,
        flags: 0,
    };
    for _ in 0..MAX_BATCHES {
        bench.client.announce(announced).unwrap();
    }
    assert_eq!(bench.client.announce(announced), Err(Lost::Protocol));
}

#[test]
fn an_object_can_be_used_before_it_is_known_to_exist() {
    let mut bench = Bench::new(100);
    let batch = [
        toy::make(NOBODY, NULL, 10, 0, h(0, 1)),
        toy::run(NOBODY, h(0, 1), 0),
        toy::list(NOBODY, &[h(0, 1)]),
        toy::properties(NOBODY, &[5, h(0, 1).0, 0]),
        toy::command(toy::ANY, NOBODY, &[h(0, 1).0, 0, 0]),
    ];
    assert_eq!(bench.send(&batch.concat()).len(), 5);
    assert_eq!(bench.desk.tenant.quota.used(), 10);
}

#[test]
fn an_object_that_was_not_made_is_dead() {
    let mut bench = Bench::new(100);
    let sent = bench.send(&toy::make(NOBODY, NULL, 10, 0, h(0, 1)));
    bench.called(sent[0].0, 0, -5);
    // The report is heard before the batch is looked at.
    assert!(bench.send(&toy::run(caller(0, 1), h(0, 1), 0)).is_empty());
    assert_eq!(bench.answer(caller(0, 1)), Some(toy::NO_BOX));
    assert_eq!(bench.desk.tenant.quota.used(), 0);
}

#[test]
fn dead_and_foreign_handles_are_refused_wherever_they_stand() {
    let mut bench = Bench::new(100);
    let places = [h(10, 1), h(11, 1)];
    let sent = bench.send(&toy::find(NOBODY, &places, DATA_OFFSET, 1));
    bench.called(sent[0].0, 0b01, 0);
    bench.settle();
    for (seq, wrong) in [h(0, 1), h(10, 1), h(11, 1), h(10, 2)]
        .into_iter()
        .enumerate()
    {
        let who = caller(0, 1 + seq as u32);
        for bytes in [
            toy::run(who, wrong, 0),
            toy::list(who, &[wrong]),
            toy::properties(who, &[5, wrong.0, 0]),
            toy::release(who, wrong),
            toy::make(who, wrong, 1, DATA_OFFSET, h(1, 1)),
        ] {
            assert!(bench.send(&bytes).is_empty(), "{wrong:?}");
        }
        assert_eq!(read_error(&bench, DATA_OFFSET) as i64, toy::NO_BOX);
        assert_eq!(bench.answer(who), Some(0), "make answers null");
    }
    assert!(
        bench
            .send(&toy::command(toy::ANY, caller(1, 1), &[h(11, 1).0, 0, 0]))
            .is_empty()
    );
    assert_eq!(bench.answer(caller(1, 1)), Some(toy::MALFORMED));
    assert_eq!(
        bench
            .send(&toy::command(toy::ANY, caller(1, 2), &[h(10, 1).0, 0, 0]))
            .len(),
        1
    );
}

#[test]
fn a_slot_is_proposed_again_only_when_free_and_newer() {
    let mut bench = Bench::new(100);
    assert_eq!(bench.send(&toy::make(NOBODY, NULL, 1, 0, h(0, 5))).len(), 1);
    let refused = |bench: &mut Bench, new| {
        let at = DATA_OFFSET + 64;
        assert!(
            bench
                .send(&toy::make(caller(0, 1), NULL, 1, at, new))
                .is_empty()
        );
        assert_eq!(read_error(bench, at) as i64, toy::MALFORMED);
    };
    refused(&mut bench, h(0, 6));
    assert_eq!(bench.send(&toy::release(NOBODY, h(0, 5))).len(), 1);
    refused(&mut bench, h(0, 5));
    refused(&mut bench, h(0, 4));
    assert_eq!(bench.send(&toy::make(NOBODY, NULL, 1, 0, h(0, 6))).len(), 1);
}

#[test]
fn one_call_cannot_propose_a_slot_twice_nor_too_many() {
    let mut bench = Bench::new(100);
    assert!(
        bench
            .send(&toy::find(NOBODY, &[h(1, 1), h(1, 2)], DATA_OFFSET, 0))
            .is_empty()
    );
    let most = MAX_PROPOSALS as u32;
    let many: Vec<Handle> = (0..=most).map(|slot| h(slot, 1)).collect();
    assert!(
        bench
            .send(&toy::find(NOBODY, &many, DATA_OFFSET, 0))
            .is_empty()
    );
    assert_eq!(
        bench
            .send(&toy::find(NOBODY, &many[1..], DATA_OFFSET, 0))
            .len(),
        1
    );
}

#[test]
fn of_many_proposals_those_live_that_are_reported() {
    let mut bench = Bench::new(100);
    let many: Vec<Handle> = (0..200).map(|slot| h(slot, 1)).collect();
    let sent = bench.send(&toy::find(NOBODY, &many, DATA_OFFSET, 0));
    for (word, bound) in [(1, 1 << 5), (3, 1 << 7)] {
        bench.report(sent[0].0, Event::Bound { word, bound });
    }
    bench.called(sent[0].0, 1, 0);
    bench.settle();
    let mut lives = |slot: &u32| {
        let words = [h(*slot, 1).0, 0, 0];
        !bench
            .send(&toy::command(toy::ANY, NOBODY, &words))
            .is_empty()
    };
    let alive: Vec<u32> = (0..200).filter(|slot| lives(slot)).collect();
    assert_eq!(alive, [0, 69, 199]);
}

#[test]
fn what_is_over_quota_is_refused_with_the_api_s_error() {
    let mut bench = Bench::new(100);
    assert_eq!(
        bench.send(&toy::make(NOBODY, NULL, 60, 0, h(0, 1))).len(),
        1
    );
    let over = toy::make(caller(0, 1), NULL, 41, DATA_OFFSET, h(1, 1));
    assert!(bench.send(&over).is_empty());
    assert_eq!(read_error(&bench, DATA_OFFSET) as i64, toy::QUOTA);
    assert_eq!(bench.answer(caller(0, 1)), Some(0));
    bench.send(&toy::release(NOBODY, h(0, 1)));
    assert_eq!(bench.send(&over).len(), 1);
    let stats = bench.stats();
    assert_eq!((stats.memory, stats.memory_peak), (41, 60));
    assert_eq!(bench.desk.tenant.quota.peak(), 60);
}

#[test]
fn an_error_is_not_written_where_it_must_not_be() {
    let mut bench = Bench::new(1);
    for place in [STREAM_OFFSET, 8, MIN_SIZE - 2, MIN_SIZE, u64::MAX >> 2] {
        let [place, len] = toy::arena(place, 4);
        let words = [0, 50, 0, place, len, h(1, 1).0];
        let header = {
            let mut bytes = [0; 8];
            bench.arena.memory().read(8, &mut bytes).unwrap();
            bytes
        };
        assert!(
            bench
                .send(&toy::command(toy::MAKE, caller(0, 1), &words))
                .is_empty()
        );
        let mut after = [0; 8];
        bench.arena.memory().read(8, &mut after).unwrap();
        assert_eq!(header, after);
    }
}

#[test]
fn a_full_channel_holds_the_client_and_counts_nothing_twice() {
    let mut bench = Bench::new(1000);
    // Over a mebibyte of commands.
    let big = toy::list(NOBODY, &[h(0, 1); 4000]);
    bench.send(&toy::make(NOBODY, NULL, 10, 0, h(0, 1)));
    let count = 40;
    for _ in 0..count {
        bench.announce(&big);
        let turn = bench.turn().unwrap();
        if turn.held {
            break;
        }
    }
    assert!(bench.client.is_open());
    // The release waits behind; so does what follows.
    bench.announce(&toy::make(NOBODY, NULL, 10, 0, h(1, 1)));
    let held = bench.stats().traffic;
    for _ in 0..5 {
        assert!(bench.turn().unwrap().held);
    }
    assert_eq!(bench.stats().traffic, held);
    assert_eq!(bench.desk.tenant.quota.used(), 10);
    let mut got = bench.sent().len();
    bench.settle();
    got += bench.sent().len();
    assert_eq!(bench.stats().traffic.calls, got as u64 + 1);
    assert_eq!(bench.desk.tenant.quota.used(), 20);
}

struct Gate(std::sync::Arc<AtomicBool>);

impl Admission for Gate {
    fn admit(&mut self, request: Request) -> Decision {
        match !request.device_time() || self.0.load(Ordering::Relaxed) {
            true => Decision::Forward,
            false => Decision::Hold,
        }
    }
}

#[test]
fn what_is_not_admitted_waits_and_what_follows_too() {
    let open = std::sync::Arc::new(AtomicBool::new(false));
    let mut bench = Bench::with_policy(100, Box::new(Gate(open.clone())));
    let batch = [
        toy::ping(NOBODY, 1),
        toy::run(NOBODY, NULL, 5),
        toy::ping(NOBODY, 2),
    ];
    assert_eq!(bench.send(&batch.concat()).len(), 1);
    assert!(bench.turn().unwrap().held);
    open.store(true, Ordering::Relaxed);
    bench.settle();
    assert_eq!(bench.sent().len(), 2);
    assert_eq!(bench.stats().traffic.calls, 3);
}

#[test]
fn what_is_above_the_queue_depth_waits_for_room() {
    let mut bench = Bench::new(100);
    bench.desk.limits.queue_depth = 2;
    let sent = bench.send(&toy::ping(NOBODY, 1).repeat(3));
    assert_eq!(sent.len(), 2);
    assert!(bench.turn().unwrap().held);
    bench.called(sent[1].0, 0, 0);
    bench.settle();
    assert_eq!(bench.sent().len(), 1);
    // What runs on the device makes room when it has ended, too.
    let sent = bench.send(&toy::run(NOBODY, NULL, 5));
    assert!(sent.is_empty());
    bench.called(1, 0, 0);
    bench.settle();
    let sent = bench.sent();
    assert_eq!(sent.len(), 1);
    assert!(bench.send(&toy::ping(NOBODY, 1)).is_empty());
    bench.called(sent[0].0, 0, 0);
    bench.settle();
    assert!(bench.turn().unwrap().held, "its work has not ended");
    bench.report(sent[0].0, Event::Executed { device_ns: 5 });
    bench.settle();
    assert_eq!(bench.sent().len(), 1);
    assert_eq!(bench.stats().traffic.refused, 0);
}

#[test]
fn one_turn_does_a_bounded_amount_of_work() {
    let mut bench = Bench::new(100);
    bench.announce(&toy::ping(NOBODY, 1).repeat(10_000));
    assert!(bench.turn().unwrap().worked);
    let first = bench.sent().len();
    assert!(first > 0 && first < 1000, "{first}");
    bench.settle();
    assert_eq!(first + bench.sent().len(), 10_000);
}

#[test]
fn a_lost_client_is_a_shell() {
    let mut bench = Bench::new(100);
    bench.send(&toy::make(NOBODY, NULL, 10, 0, h(0, 1)));
    assert_eq!(bench.client.lose(&mut bench.desk, Lost::Worker), 10);
    assert_eq!(bench.client.lose(&mut bench.desk, Lost::Ended), 0);
    assert_eq!(bench.arena.lost(), Some(Lost::Worker as u32));
    assert!(bench.send(&toy::ping(NOBODY, 1)).is_empty());
    assert_eq!(bench.stats().memory, 0);
}

#[test]
fn what_is_rewritten_meanwhile_is_still_checked() {
    let mut bench = Bench::new(1000);
    bench.send(&toy::make(NOBODY, NULL, 1, 0, h(0, 1)));
    let (file, size) = bench.client.arena();
    let arena = Arena::map(file, size).unwrap();
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            // Now a good command, now one that asks for memory outside, now nonsense.
            let [place, len] = toy::arena(DATA_OFFSET, 8);
            let good = toy::command(toy::READ, caller(0, 1), &[8, place, len]);
            let [place, len] = toy::arena(MIN_SIZE, 1 << 40);
            let bad = toy::command(toy::READ, caller(0, 1), &[1 << 40, place, len]);
            let nonsense = vec![0xff; good.len()];
            while !stop.load(Ordering::Relaxed) {
                for bytes in [&good, &bad, &nonsense] {
                    arena.memory().write(STREAM_OFFSET, bytes).unwrap();
                }
            }
        });
        let announced = Announced {
            offset: STREAM_OFFSET as u32,
            length: 40,
            flags: 0,
        };
        let _end = RaisedAtEnd(&stop);
        let (mut reached, mut announced_in_all) = (0, 0);
        let deadline = Instant::now() + Duration::from_secs(20);
        while (reached < 1000 || announced_in_all < 10_000) && Instant::now() < deadline {
            announced_in_all += 1;
            bench.client.announce(announced).unwrap();
            while bench.turn().unwrap().worked {}
            for (id, bytes) in bench.sent() {
                check(&toy::TOY, &bytes, MIN_SIZE, NOTHING_KEPT)
                    .expect("only what is checked gets through");
                bench.called(id, 0, 0);
                reached += 1;
            }
        }
        assert!(reached > 0 && bench.stats().traffic.refused > 0);
    });
}

/// Bytes that are sometimes nearly commands.
fn batches() -> impl Strategy<Value = Vec<u8>> {
    let random = prop::collection::vec(any::<u8>(), 0..400);
    let nearly = prop::collection::vec(
        (
            0u16..15,
            0u32..260,
            0u32..3,
            prop::collection::vec(words(), 0..8),
        ),
        1..6,
    )
    .prop_map(|calls| {
        let commands = calls.into_iter();
        let bytes = commands.map(|(function, lane, seq, words)| {
            toy::command(function, toy::Caller { lane, seq }, &words)
        });
        bytes.collect::<Vec<_>>().concat()
    });
    let nearly = nearly.boxed();
    let flipped = (nearly.clone(), any::<prop::sample::Index>(), any::<u8>()).prop_map(
        |(mut bytes, at, bits)| {
            let at = at.index(bytes.len());
            bytes[at] ^= bits;
            bytes
        },
    );
    prop_oneof![random, nearly, flipped]
}

fn words() -> impl Strategy<Value = u64> {
    prop_oneof![
        any::<u64>(),
        0u64..16,
        (0u32..4, 0u32..3).prop_map(|(slot, generation)| h(slot, generation).0),
        (0u64..MIN_SIZE + 64).prop_map(|at| 2 << 62 | at),
        (0u64..128).prop_map(|at| 1 << 62 | at),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn nothing_reaches_the_worker_unchecked(
        all in prop::collection::vec((batches(), any::<u64>(), any::<bool>()), 1..12)
    ) {
        let mut bench = Bench::new(1 << 20);
        for (bytes, bound, answer) in all {
            bench.announce(&bytes);
            bench.settle();
            for (id, bytes) in bench.sent() {
                prop_assert!(check(&toy::TOY, &bytes, MIN_SIZE, NOTHING_KEPT).is_ok());
                if answer {
                    bench.called(id, bound, 0);
                }
            }
            prop_assert!(bench.desk.tenant.quota.used() <= 1 << 20);
        }
        let bytes = bench.client.lose(&mut bench.desk, Lost::Ended);
        prop_assert_eq!(bytes, bench.desk.tenant.quota.used());
    }

    #[test]
    fn announcements_never_harm(
        all in prop::collection::vec((any::<u32>(), any::<u32>(), 0u32..2, any::<bool>()), 0..40)
    ) {
        let mut bench = Bench::new(100);
        bench.arena.memory().write(STREAM_OFFSET, &toy::ping(NOBODY, 1).repeat(100)).unwrap();
        for (offset, length, flags, near) in all {
            let (offset, length) = match near {
                true => (STREAM_OFFSET as u32 + offset % 2400, length % 2400),
                false => (offset, length),
            };
            bench.client.announce(Announced { offset, length, flags }).unwrap();
            bench.settle();
            bench.sent();
        }
    }
}

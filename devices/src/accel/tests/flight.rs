//! What the worker reports.

use std::time::Duration;

use weir_wire::arena::Lost;
use weir_wire::channel::Event;
use weir_wire::handle::Handle;

use super::bench::Bench;
use super::toy::{self, NOBODY};

const NULL: Handle = Handle::NULL;

fn executed(device_ns: u64) -> Event {
    Event::Executed { device_ns }
}

#[test]
fn device_time_is_counted_once_and_only_where_it_belongs() {
    let mut bench = Bench::new(100);
    let sent = bench.send(&[toy::run(NOBODY, NULL, 0), toy::ping(NOBODY, 1)].concat());
    let (run, ping) = (sent[0].0, sent[1].0);
    std::thread::sleep(Duration::from_millis(2));
    bench.report(run, executed(1000));
    bench.called(run, 0, 0);
    bench.report(run, executed(1000));
    bench.report(ping, executed(1000));
    bench.called(ping, 0, 0);
    bench.settle();
    assert_eq!(bench.stats().traffic.device_time_ns, 1000);
    assert!(!bench.client.is_open());
}

#[test]
fn device_time_cannot_exceed_what_was_seen() {
    let mut bench = Bench::new(100);
    let start = std::time::Instant::now();
    let sent = bench.send(&toy::run(NOBODY, NULL, 0));
    bench.called(sent[0].0, 0, 0);
    bench.report(sent[0].0, executed(u64::MAX));
    bench.settle();
    let charged = u128::from(bench.stats().traffic.device_time_ns);
    assert!(charged > 0 && charged <= start.elapsed().as_nanos());
}

#[test]
fn a_call_that_failed_costs_no_time() {
    let mut bench = Bench::new(100);
    let sent = bench.send(&toy::run(NOBODY, NULL, 0));
    bench.called(sent[0].0, 0, -5);
    bench.report(sent[0].0, executed(1));
    bench.settle();
    assert_eq!(bench.stats().traffic.device_time_ns, 0);
    assert!(!bench.client.is_open());
}

#[test]
fn reports_of_what_was_never_sent_end_the_client() {
    let bound = Event::Bound { word: 1, bound: 1 };
    for event in [executed(1), Event::Called { bound: 0, error: 0 }, bound] {
        let mut bench = Bench::new(100);
        bench.report(77, event);
        assert_eq!(bench.turn(), Err(Lost::Worker));
    }
    let mut bench = Bench::new(100);
    let sent = bench.send(&toy::run(NOBODY, NULL, 0));
    bench.called(sent[0].0, 0, 0);
    bench.called(sent[0].0, 0, 0);
    assert_eq!(bench.turn(), Err(Lost::Worker));
    // Of handles that were not proposed.
    let mut bench = Bench::new(100);
    let sent = bench.send(&toy::run(NOBODY, NULL, 0));
    bench.report(sent[0].0, bound);
    assert_eq!(bench.turn(), Err(Lost::Worker));
}

#[test]
fn it_is_listened_to_only_where_it_matters() {
    let mut bench = Bench::new(100);
    let report = |bench: &mut Bench, id| {
        let event = Event::Called { bound: 0, error: 0 };
        let done = weir_wire::channel::Completion { id, event };
        bench.writer.push(done).unwrap()
    };
    let sent = bench.send(&toy::ping(NOBODY, 1));
    bench.client.before_sleep(&bench.desk);
    assert!(!report(&mut bench, sent[0].0), "nobody waits for this one");
    bench.client.after_sleep();
    bench.settle();
    let sent = bench.send(&toy::ping(NOBODY, 1).repeat(5000));
    bench.client.before_sleep(&bench.desk);
    assert!(report(&mut bench, sent[0].0), "the ring could fill up");
    bench.client.after_sleep();
    assert!(!report(&mut bench, sent[1].0));
}

#[test]
fn a_worker_with_nothing_to_do_is_left_asleep() {
    let mut bench = Bench::new(100);
    bench.reader.announce_idle();
    for _ in 0..5 {
        bench.turn().unwrap();
    }
    bench.send(&toy::ping(NOBODY, 1));
    bench.settle();
    assert_eq!(bench.stats().traffic.worker_wakes, 1);
}

//! The quota under orders of events that nobody would think of.

use proptest::prelude::*;
use weir_wire::handle::Handle;

use super::bench::Bench;
use super::toy::{self, NOBODY};

#[derive(Clone, Debug)]
enum Deed {
    Make {
        slot: u32,
        parent: u32,
        bytes: u64,
    },
    Release {
        slot: u32,
    },
    Retain {
        slot: u32,
    },
    /// The worker reports on the command that has waited for it longest but this many.
    Report {
        skip: usize,
        made: bool,
    },
}

fn deeds() -> impl Strategy<Value = Deed> {
    prop_oneof![
        (0u32..6, 0u32..8, prop_oneof![0u64..400, any::<u64>()]).prop_map(
            |(slot, parent, bytes)| Deed::Make {
                slot,
                parent,
                bytes
            }
        ),
        (0u32..6).prop_map(|slot| Deed::Release { slot }),
        (0u32..6).prop_map(|slot| Deed::Retain { slot }),
        (0usize..4, any::<bool>()).prop_map(|(skip, made)| Deed::Report { skip, made }),
    ]
}

const QUOTA: u64 = 1000;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn it_is_never_exceeded_and_returns_to_zero(all in prop::collection::vec(deeds(), 1..80)) {
        let mut bench = Bench::new(QUOTA);
        let mut generations = [0u32; 6];
        let mut open = Vec::new();
        for deed in all {
            let handle = |slot: u32, generations: &[u32; 6]| match generations.get(slot as usize) {
                Some(generation) if *generation > 0 => Handle::new(slot, *generation),
                _ => Handle::NULL,
            };
            match deed {
                Deed::Make { slot, parent, bytes } => {
                    let parent = handle(parent, &generations);
                    let new = Handle::new(slot, generations[slot as usize] + 1);
                    let sent = bench.send(&toy::make(NOBODY, parent, bytes, 0, new));
                    if !sent.is_empty() {
                        generations[slot as usize] += 1;
                    }
                    open.extend(sent.into_iter().map(|(id, _)| id));
                }
                Deed::Release { slot } => {
                    let sent = bench.send(&toy::release(NOBODY, handle(slot, &generations)));
                    open.extend(sent.into_iter().map(|(id, _)| id));
                }
                Deed::Retain { slot } => {
                    let sent = bench.send(&toy::retain(NOBODY, handle(slot, &generations)));
                    open.extend(sent.into_iter().map(|(id, _)| id));
                }
                Deed::Report { skip, made } => {
                    if !open.is_empty() {
                        let id = open.remove(skip % open.len());
                        bench.called(id, u64::from(made), if made { 0 } else { -5 });
                        bench.settle();
                    }
                }
            }
            prop_assert!(bench.desk.tenant.quota.used() <= QUOTA);
            prop_assert_eq!(bench.desk.tenant.quota.used(), bench.stats().memory);
        }
        prop_assert!(bench.desk.tenant.quota.peak() <= QUOTA);
        // Drop every reference that is left: nothing remains.
        for id in open {
            bench.called(id, 1, 0);
        }
        bench.settle();
        for slot in 0..6 {
            let last = Handle::new(slot, generations[slot as usize].max(1));
            while !bench.send(&toy::release(NOBODY, last)).is_empty() {}
        }
        prop_assert_eq!(bench.desk.tenant.quota.used(), 0);
    }
}

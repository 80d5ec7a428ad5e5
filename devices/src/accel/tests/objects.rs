//! The table of objects against a model that is plain to see.

use std::collections::BTreeMap;

use proptest::prelude::*;
use weir_wire::handle::{Handle, MAX_SLOTS};

use super::super::objects::{KindOf, Objects, Proposal};

const KIND: KindOf = KindOf { api: 7, kind: 3 };

fn h(slot: u32, generation: u32) -> Handle {
    Handle::new(slot, generation)
}

#[test]
fn what_is_kept_is_of_living_objects_only() {
    let mut objects = Objects::default();
    let handle = Handle::new(3, 1);
    objects.bind(Proposal {
        kept: 7,
        ..new(handle, Handle::NULL, 0)
    });
    assert_eq!(objects.kept(handle), Some(7));
    assert_eq!(objects.kept(Handle::new(3, 2)), None);
    objects.release(handle);
    assert_eq!(objects.kept(handle), None);
}

fn new(handle: Handle, parent: Handle, bytes: u64) -> Proposal {
    Proposal {
        handle,
        kind: KIND,
        parent,
        bytes,
        kept: 0,
        permanent: false,
    }
}

#[test]
fn a_child_keeps_its_parent() {
    let mut objects = Objects::default();
    objects.bind(new(h(0, 1), Handle::NULL, 5));
    objects.bind(new(h(1, 1), h(0, 1), 7));
    assert_eq!(objects.release(h(0, 1)), 0);
    assert_eq!(objects.kind(h(0, 1)), Some(KIND));
    assert!(!objects.can_release(h(0, 1)), "no reference is left");
    assert!(objects.can_retain(h(0, 1)), "but it is still there");
    assert_eq!(objects.release(h(1, 1)), 12);
    assert_eq!((objects.kind(h(0, 1)), objects.bytes()), (None, 0));
}

#[test]
fn a_permanent_object_stays_but_its_slot_may_be_taken() {
    let mut objects = Objects::default();
    let place = Proposal {
        permanent: true,
        ..new(h(4, 1), Handle::NULL, 0)
    };
    objects.bind(place);
    assert!(!objects.is_free(h(4, 2)));
    for _ in 0..3 {
        assert!(objects.can_release(h(4, 1)));
        objects.release(h(4, 1));
        assert_eq!(objects.kind(h(4, 1)), Some(KIND));
    }
    assert!(objects.is_free(h(4, 2)));
    assert!(!objects.is_free(h(4, 1)));
}

#[test]
fn handles_out_of_range_are_nothing() {
    let objects = Objects::default();
    for handle in [
        h(MAX_SLOTS, 1),
        h(u32::MAX, u32::MAX),
        h(0, 0),
        Handle::NULL,
    ] {
        assert!(
            !objects.is_free(handle) && objects.kind(handle).is_none(),
            "{handle:?}"
        );
    }
    assert!(objects.is_free(h(MAX_SLOTS - 1, u32::MAX)));
}

#[test]
fn a_failed_parent_takes_its_bytes_along_and_leaves_its_children() {
    let mut objects = Objects::default();
    objects.bind(new(h(0, 1), Handle::NULL, 5));
    objects.bind(new(h(1, 1), h(0, 1), 7));
    assert_eq!(objects.unbind(h(0, 1)), 5);
    objects.bind(new(h(0, 2), Handle::NULL, 1));
    // The child of the old one is none of the new one.
    assert_eq!(objects.release(h(1, 1)), 7);
    assert_eq!(objects.kind(h(0, 2)), Some(KIND));
    assert_eq!(objects.release(h(0, 2)), 1);
}

#[derive(Debug)]
struct Thing {
    refs: u32,
    parent: Handle,
    bytes: u64,
    permanent: bool,
}

#[derive(Debug, Default)]
struct Model {
    things: BTreeMap<Handle, Thing>,
    last: BTreeMap<u32, u32>,
}

impl Model {
    fn sweep(&mut self) {
        loop {
            let gone = self.things.iter().find(|(handle, thing)| {
                let parent_of_none = self.things.values().all(|other| other.parent != **handle);
                thing.refs == 0 && !thing.permanent && parent_of_none
            });
            let Some((handle, _)) = gone else { return };
            let handle = *handle;
            self.things.remove(&handle);
        }
    }

    fn bytes(&self) -> u64 {
        self.things.values().map(|thing| thing.bytes).sum()
    }

    fn is_free(&self, handle: Handle) -> bool {
        let newer = self.last.get(&handle.slot()).copied().unwrap_or(0) < handle.generation();
        let taken = self.things.iter().any(|(other, thing)| {
            other.slot() == handle.slot() && !(thing.permanent && thing.refs == 0)
        });
        newer && !taken
    }
}

#[derive(Clone, Debug)]
enum Deed {
    Bind(Handle, Handle, u64, bool),
    Unbind(Handle),
    Retain(Handle),
    Release(Handle),
}

fn deeds() -> impl Strategy<Value = Deed> {
    let handle = || (0u32..5, 1u32..6).prop_map(|(slot, generation)| h(slot, generation));
    prop_oneof![
        3 => (handle(), handle(), 0u64..10, prop::bool::weighted(0.1))
            .prop_map(|(handle, parent, bytes, permanent)| match permanent {
                true => Deed::Bind(handle, Handle::NULL, 0, true),
                false => Deed::Bind(handle, parent, bytes, false),
            }),
        1 => handle().prop_map(Deed::Unbind),
        1 => handle().prop_map(Deed::Retain),
        3 => handle().prop_map(Deed::Release),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn the_table_is_as_the_model(all in prop::collection::vec(deeds(), 1..60)) {
        let mut objects = Objects::default();
        let mut model = Model::default();
        for deed in all {
            match deed {
                Deed::Bind(handle, parent, bytes, permanent) => {
                    prop_assert_eq!(objects.is_free(handle), model.is_free(handle));
                    if !model.is_free(handle) || parent.slot() == handle.slot() {
                        continue;
                    }
                    // A permanent object whose slot is taken anew is gone for the table.
                    model.things.retain(|other, _| other.slot() != handle.slot());
                    let parent = match model.things.contains_key(&parent) {
                        true => parent,
                        false => Handle::NULL,
                    };
                    objects.bind(Proposal { permanent, ..new(handle, parent, bytes) });
                    model.last.insert(handle.slot(), handle.generation());
                    model.things.insert(handle, Thing { refs: 1, parent, bytes, permanent });
                }
                Deed::Unbind(handle) => {
                    objects.unbind(handle);
                    model.things.remove(&handle);
                }
                Deed::Retain(handle) => {
                    prop_assert_eq!(objects.can_retain(handle), model.things.contains_key(&handle));
                    objects.retain(handle);
                    if let Some(thing) = model.things.get_mut(&handle) {
                        thing.refs += 1;
                    }
                }
                Deed::Release(handle) => {
                    let thing = model.things.get_mut(&handle);
                    let can = thing.as_ref().is_some_and(|thing| thing.refs > 0 || thing.permanent);
                    prop_assert_eq!(objects.can_release(handle), can);
                    if can {
                        objects.release(handle);
                        let thing = thing.unwrap();
                        thing.refs = thing.refs.saturating_sub(1);
                    }
                }
            }
            model.sweep();
            prop_assert_eq!(objects.bytes(), model.bytes());
            for slot in 0..5 {
                for generation in 1..6 {
                    let handle = h(slot, generation);
                    prop_assert_eq!(objects.kind(handle).is_some(), model.things.contains_key(&handle));
                }
            }
        }
        objects.clear();
        prop_assert_eq!(objects.bytes(), 0);
    }
}

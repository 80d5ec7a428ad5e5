//! The checks on commands, against a table of every way that a parameter can travel.

use proptest::prelude::*;
use weir_wire::arena::{DATA_OFFSET, MAX_LANES, MIN_SIZE};
use weir_wire::check::{Malformed, Use, check, handles, traffic};
use weir_wire::command::{Call, Encoder, Header, MAX_COMMAND, Place, Reference};
use weir_wire::function::{
    Api, Contents, Errors, Failure, Function, Kept, Kind, NOTHING_KEPT, Param, Parent, Passing,
};
use weir_wire::handle::Handle;

const ARENA: u64 = MIN_SIZE;

const fn param(name: &'static str, word: usize, optional: bool, passing: Passing) -> Param {
    Param {
        name,
        word,
        optional,
        passing,
    }
}

fn times_four(call: &Call<'_>, _: Kept<'_>) -> Option<u64> {
    call.word(0).checked_mul(4)
}

fn times_eight(call: &Call<'_>, _: Kept<'_>) -> Option<u64> {
    call.word(0).checked_mul(8)
}

const fn function(name: &'static str, words: usize, params: &'static [Param]) -> Function {
    Function {
        name,
        words,
        params,
        failure: Failure::Return,
        blocks: None,
        holds: None,
        too_large: None,
        keeps: None,
        device_time: false,
        retains: None,
        releases: None,
        order: None,
    }
}

static API: Api = Api {
    name: "test",
    id: 1,
    functions: &[
        function(
            "transfer",
            5,
            &[
                param("n", 0, false, Passing::Scalar),
                param(
                    "from",
                    1,
                    false,
                    Passing::In {
                        len: Some(times_four),
                        contents: Contents::Bulk,
                    },
                ),
                param(
                    "to",
                    3,
                    true,
                    Passing::Out {
                        len: Some(times_four),
                    },
                ),
            ],
        ),
        function(
            "make",
            5,
            &[
                param("parent", 0, false, Passing::Handle(0)),
                param(
                    "new",
                    1,
                    false,
                    Passing::New {
                        kind: 1,
                        parent: Some(Parent {
                            word: 0,
                            first: None,
                        }),
                    },
                ),
                param(
                    "properties",
                    2,
                    true,
                    Passing::In {
                        len: None,
                        contents: Contents::Properties(&[(7, 0)]),
                    },
                ),
                param("flags", 4, false, Passing::Scalar),
            ],
        ),
        function(
            "find",
            5,
            &[
                param("n", 0, false, Passing::Scalar),
                param(
                    "found",
                    1,
                    true,
                    Passing::NewArray {
                        kind: 0,
                        found: true,
                        parent: None,
                        len: times_eight,
                    },
                ),
            ],
        ),
        function(
            "wait",
            6,
            &[
                param("n", 0, false, Passing::Scalar),
                param(
                    "list",
                    1,
                    true,
                    Passing::In {
                        len: Some(times_eight),
                        contents: Contents::Handles(1),
                    },
                ),
                param("either", 3, false, Passing::HandleOrBytes),
            ],
        ),
        function(
            "describe",
            6,
            &[
                param("parent", 0, false, Passing::Handle(0)),
                param(
                    "records",
                    1,
                    true,
                    Passing::In {
                        len: None,
                        contents: Contents::Records {
                            size: 24,
                            handles: &[(8, 1)],
                        },
                    },
                ),
                param(
                    "new",
                    3,
                    false,
                    Passing::New {
                        kind: 1,
                        parent: Some(Parent {
                            word: 0,
                            first: Some((1, 8)),
                        }),
                    },
                ),
                param(
                    "data",
                    4,
                    true,
                    Passing::Out {
                        len: Some(|call, kept| kept(Handle(call.word(0)))),
                    },
                ),
            ],
        ),
    ],
    kinds: &[
        Kind {
            name: "parent",
            invalid: -1,
        },
        Kind {
            name: "child",
            invalid: -2,
        },
    ],
    errors: Errors {
        lost: -10,
        malformed: -11,
        quota: -12,
        unsupported: -13,
    },
};

fn encode(function: u16, f: impl FnOnce(&mut Encoder<'_>)) -> Vec<u8> {
    let mut out = Vec::new();
    let header = Header {
        size: 0,
        api: 1,
        function,
        lane: 3,
        seq: 9,
    };
    let words = API.functions[usize::from(function)].words;
    let mut encoder = Encoder::new(&mut out, header, words);
    f(&mut encoder);
    encoder.finish().expect("short enough");
    out
}

fn refused(bytes: &[u8]) -> &'static str {
    match check(&API, bytes, ARENA, NOTHING_KEPT) {
        Err(Malformed::Parameter { what, .. }) => what,
        other => panic!("accepted, or refused for another reason: {other:?}"),
    }
}

fn arena(at: u64, len: u64) -> Reference {
    Reference {
        place: Place::Arena(at),
        len,
    }
}

fn transfer(n: u64, from: Reference, to: Reference) -> Vec<u8> {
    encode(0, |e| {
        e.word(0, n);
        e.reference(1, from);
        e.reference(3, to);
    })
}

#[test]
fn a_transfer_whose_lengths_agree_passes() {
    let bytes = transfer(16, arena(DATA_OFFSET, 64), arena(ARENA - 64, 64));
    let (function, call) = check(&API, &bytes, ARENA, NOTHING_KEPT).unwrap();
    assert_eq!(function.name, "transfer");
    assert_eq!((call.header.lane, call.header.seq), (3, 9));
    assert_eq!(traffic(function, &call), (64, 64));
}

#[test]
fn lengths_and_places_are_held_to_the_call_s_values() {
    let to = arena(DATA_OFFSET, 64);
    let case = |n, from| refused(&transfer(n, from, to));
    assert_eq!(
        case(15, to),
        "has another length than the call's other values ask for",
        "the length must be the one that the count gives"
    );
    assert_eq!(case(u64::MAX / 2, to), "has a length that cannot be");
    assert_eq!(
        case(16, arena(DATA_OFFSET - 4, 64)),
        "lies outside of the arena's data"
    );
    assert_eq!(
        case(16, arena(ARENA - 60, 64)),
        "lies outside of the arena's data"
    );
    assert_eq!(
        case(16, arena((1 << 62) - 1, u64::MAX)),
        "lies outside of the arena's data"
    );
    assert_eq!(case(16, Reference::NULL), "is null");
    let inline = Reference {
        place: Place::Inline(0),
        len: 64,
    };
    assert_eq!(
        case(16, inline),
        "lies outside of its command",
        "its own header is no data"
    );
    let written = encode(0, |e| {
        e.word(0, 2);
        e.reference(1, arena(DATA_OFFSET, 8));
        e.inline(3, &[0; 8]);
    });
    assert_eq!(
        refused(&written),
        "is written by the call and does not lie in the arena"
    );
}

#[test]
fn handles_are_listed_with_their_use() {
    let parent = Handle::new(4, 1);
    let new = Handle::new(5, 2);
    let bytes = encode(1, |e| {
        e.word(0, parent.0);
        e.word(1, new.0);
        let list: Vec<u8> = [9, 1, 7, parent.0, 0]
            .iter()
            .flat_map(|w: &u64| w.to_le_bytes())
            .collect();
        e.inline(2, &list);
    });
    let (function, call) = check(&API, &bytes, ARENA, NOTHING_KEPT).unwrap();
    let mut seen = Vec::new();
    handles(function, &call, |handle, usage| {
        seen.push((handle, usage));
        Ok::<_, ()>(())
    })
    .unwrap();
    let made = Use::New {
        kind: 1,
        parent,
        found: false,
    };
    assert_eq!(
        seen,
        [
            (parent, Use::Existing(0)),
            (new, made),
            (parent, Use::Existing(0))
        ]
    );
}

#[test]
fn property_lists_must_end() {
    let list = |words: &[u64]| {
        let bytes: Vec<u8> = words.iter().flat_map(|w| w.to_le_bytes()).collect();
        encode(1, |e| {
            e.word(0, Handle::new(1, 1).0);
            e.word(1, Handle::new(2, 1).0);
            e.inline(2, &bytes);
        })
    };
    assert!(check(&API, &list(&[0]), ARENA, NOTHING_KEPT).is_ok());
    assert!(
        check(&API, &list(&[7, 0, 0]), ARENA, NOTHING_KEPT).is_ok(),
        "a null value is no handle"
    );
    assert_eq!(refused(&list(&[7, Handle::new(1, 1).0])), "does not end");
    assert_eq!(refused(&list(&[7])), "has a key without a value");
    assert_eq!(refused(&list(&[0, 0])), "goes on after its end");
    assert_eq!(
        refused(&list(&[7, 5, 0])),
        "is not a handle",
        "generation 0 names nothing"
    );
}

#[test]
fn found_arrays_need_as_many_proposals_as_places() {
    let find = |n: u64, proposals: &[u64], answer: Reference| {
        let bytes: Vec<u8> = proposals.iter().flat_map(|w| w.to_le_bytes()).collect();
        encode(2, |e| {
            e.word(0, n);
            if !bytes.is_empty() {
                e.inline(1, &bytes);
            }
            e.reference(3, answer);
        })
    };
    let two = [Handle::new(1, 1).0, Handle::new(2, 1).0];
    assert!(
        check(
            &API,
            &find(2, &two, arena(DATA_OFFSET, 16)),
            ARENA,
            NOTHING_KEPT
        )
        .is_ok()
    );
    assert!(
        check(&API, &find(2, &[], Reference::NULL), ARENA, NOTHING_KEPT).is_ok(),
        "only the count is asked"
    );
    let length = "has another length than its count says";
    assert_eq!(refused(&find(1, &two, arena(DATA_OFFSET, 8))), length);
    assert_eq!(refused(&find(2, &two, arena(DATA_OFFSET, 8))), length);
    assert_eq!(refused(&find(2, &[], arena(DATA_OFFSET, 16))), length);
}

#[test]
fn lists_of_handles_travel_inside_only() {
    let outside = encode(3, |e| {
        e.word(0, 1);
        e.reference(1, arena(DATA_OFFSET, 8));
    });
    assert_eq!(
        refused(&outside),
        "holds handles and does not travel inside of its command"
    );
    let both = encode(3, |e| {
        e.word(3, Handle::new(1, 1).0);
        e.reference(4, arena(DATA_OFFSET, 8));
    });
    assert!(check(&API, &both, ARENA, NOTHING_KEPT).is_ok());
    let nothing = encode(3, |e| {
        e.word(3, 7);
        e.reference(4, arena(DATA_OFFSET, 8));
    });
    assert_eq!(refused(&nothing), "is not a handle");
}

#[test]
fn frames_are_held_to_their_size() {
    let good = transfer(16, arena(DATA_OFFSET, 64), Reference::NULL);
    for len in 0..good.len() {
        assert!(
            check(&API, &good[..len], ARENA, NOTHING_KEPT).is_err(),
            "cut to {len}"
        );
    }
    let header = |f: fn(&mut Header)| {
        let mut bytes = good.clone();
        let mut changed = Header::read(&bytes).unwrap();
        f(&mut changed);
        bytes[..16].copy_from_slice(&changed.to_bytes());
        check(&API, &bytes, ARENA, NOTHING_KEPT).map(|_| ())
    };
    assert_eq!(header(|_| {}), Ok(()));
    assert_eq!(header(|h| h.function = 5), Err(Malformed::Function(5)));
    assert_eq!(
        header(|h| h.lane = MAX_LANES),
        Err(Malformed::Lane(MAX_LANES))
    );
    assert_eq!(header(|h| h.size += 8), Err(Malformed::Size));
    let long = vec![0; MAX_COMMAND + 8];
    assert_eq!(
        check(&API, &long, ARENA, NOTHING_KEPT).map(|_| ()),
        Err(Malformed::Size)
    );
}

proptest! {
    /// Whatever the bytes: no panic, and what passes has only references that lie where they may.
    #[test]
    fn whatever_passes_is_in_bounds(
        function in 0u16..5,
        words in prop::collection::vec(
            prop_oneof![
                0u64..64,
                any::<u64>(),
                (0u64..ARENA).prop_map(|at| 2 << 62 | at),
                (0u64..200).prop_map(|at| 1 << 62 | at),
                (0u32..10).prop_map(|slot| Handle::new(slot, 1).0),
            ],
            0..16,
        ),
    ) {
        let size = 16 + 8 * words.len() as u32;
        let header = Header { size, api: 1, function, lane: 0, seq: 0 };
        let mut bytes = header.to_bytes().to_vec();
        bytes.extend(words.iter().flat_map(|w| w.to_le_bytes()));
        if let Ok((function, call)) = check(&API, &bytes, ARENA, NOTHING_KEPT) {
            for param in function.params {
                let word = match param.passing {
                    Passing::In { .. } | Passing::Out { .. } => param.word,
                    Passing::HandleOrBytes => param.word + 1,
                    _ => continue,
                };
                let found = call.reference(word).unwrap();
                match found.place {
                    Place::Null => {}
                    Place::Inline(at) => prop_assert!(at + found.len <= u64::from(size)),
                    Place::Arena(at) => {
                        prop_assert!(at >= DATA_OFFSET && at + found.len <= ARENA)
                    }
                }
            }
            handles(function, &call, |handle, _| {
                assert!(handle.is_plausible());
                Ok::<_, ()>(())
            }).unwrap();
        }
    }

    /// Bytes of no structure at all never panic.
    #[test]
    fn noise_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..256)) {
        let _ = check(&API, &bytes, ARENA, NOTHING_KEPT);
    }
}

fn describe(records: Option<&[u64]>, data: Reference) -> Vec<u8> {
    encode(4, |e| {
        e.word(0, Handle::new(4, 1).0);
        if let Some(words) = records {
            let bytes: Vec<u8> = words.iter().flat_map(|w| w.to_le_bytes()).collect();
            e.inline(1, &bytes);
        }
        e.word(3, Handle::new(5, 1).0);
        e.reference(4, data);
    })
}

#[test]
fn handles_in_structures_are_listed_and_go_before_other_parents() {
    let named = Handle::new(6, 3);
    let parent_in = |records: Option<&[u64]>| {
        let bytes = describe(records, Reference::NULL);
        let (function, call) = check(&API, &bytes, ARENA, NOTHING_KEPT).unwrap();
        let (mut parent, mut existing) = (None, Vec::new());
        handles(function, &call, |handle, usage| {
            match usage {
                Use::New { parent: found, .. } => parent = Some(found),
                Use::Existing(kind) => existing.push((handle, kind)),
                Use::ExistingAny => unreachable!(),
            }
            Ok::<_, ()>(())
        })
        .unwrap();
        (parent.unwrap(), existing)
    };
    let outer = Handle::new(4, 1);
    assert_eq!(parent_in(None), (outer, vec![(outer, 0)]));
    assert_eq!(parent_in(Some(&[1, 0, 2])), (outer, vec![(outer, 0)]));
    assert_eq!(
        parent_in(Some(&[1, named.0, 2, 3, 0, 4])),
        (named, vec![(outer, 0), (named, 1)])
    );
    let refused = |records: &[u64]| refused(&describe(Some(records), Reference::NULL));
    assert_eq!(refused(&[1, 2]), "is not made of whole structures");
    assert_eq!(refused(&[1, 7, 2]), "is not a handle");
}

#[test]
fn lengths_may_depend_on_what_is_kept() {
    let bytes = describe(None, arena(DATA_OFFSET, 64));
    let outer = Handle::new(4, 1);
    let check = |kept: Kept<'_>| check(&API, &bytes, ARENA, kept).map(drop);
    assert_eq!(check(&|handle| (handle == outer).then_some(64)), Ok(()));
    assert!(check(&|_| Some(63)).is_err());
    assert!(check(NOTHING_KEPT).is_err(), "there is no such object");
}

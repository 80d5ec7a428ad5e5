//! An API of boxes, with one function for each thing that a table can say.

use weir_wire::command::{Encoder, Header, Place, Reference};
use weir_wire::function::{Api, Contents, Errors, Failure, Function, Kind, Param, Parent, Passing};
use weir_wire::handle::Handle;

pub const API: u16 = 7;
pub const BOX: usize = 0;
pub const PLACE: usize = 2;

/// Answers its value, plus one.
pub const PING: u16 = 0;
/// Makes a box: parent, bytes, error to fail with, where the error goes, handle.
pub const MAKE: u16 = 1;
pub const RETAIN: u16 = 2;
pub const RELEASE: u16 = 3;
/// Runs on the device: box or null, nanoseconds to report.
pub const RUN: u16 = 4;
/// Fills bytes of the arena: length, reference.
pub const READ: u16 = 5;
/// Finds places: count, proposals, answer, which of them are found.
pub const FIND: u16 = 6;
pub const LIST: u16 = 7;
pub const ANY: u16 = 8;
/// The worker dies of it.
pub const DIE: u16 = 9;
/// The worker never answers it.
pub const HANG: u16 = 10;
pub const WRITE: u16 = 11;
pub const PROPERTIES: u16 = 12;
/// Is over some time: box, where to note it.
pub const QUEUE: u16 = 13;

pub const MALFORMED: i64 = -102;
pub const QUOTA: i64 = -103;
pub const UNSUPPORTED: i64 = -104;
pub const NO_BOX: i64 = -200;
pub const NO_PLACE: i64 = -202;

const fn param(name: &'static str, word: usize, passing: Passing) -> Param {
    Param {
        name,
        word,
        optional: false,
        passing,
    }
}

const fn optional(name: &'static str, word: usize, passing: Passing) -> Param {
    Param {
        name,
        word,
        optional: true,
        passing,
    }
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

pub static TOY: Api = Api {
    name: "toy",
    id: API,
    functions: &[
        function("ping", 1, &[param("value", 0, Passing::Scalar)]),
        Function {
            failure: Failure::Out(3),
            holds: Some(|call, _| Some(call.word(1))),
            ..function(
                "make",
                6,
                &[
                    optional("parent", 0, Passing::Handle(BOX)),
                    param("bytes", 1, Passing::Scalar),
                    param("outcome", 2, Passing::Scalar),
                    optional(
                        "error",
                        3,
                        Passing::Out {
                            len: Some(|_, _| Some(4)),
                        },
                    ),
                    param(
                        "return",
                        5,
                        Passing::New {
                            kind: BOX,
                            parent: Some(Parent {
                                word: 0,
                                first: None,
                            }),
                        },
                    ),
                ],
            )
        },
        Function {
            retains: Some(0),
            ..function("retain", 1, &[param("box", 0, Passing::Handle(BOX))])
        },
        Function {
            releases: Some(0),
            ..function("release", 1, &[param("box", 0, Passing::Handle(BOX))])
        },
        Function {
            device_time: true,
            ..function(
                "run",
                2,
                &[
                    optional("box", 0, Passing::Handle(BOX)),
                    param("ns", 1, Passing::Scalar),
                ],
            )
        },
        function(
            "read",
            3,
            &[
                param("len", 0, Passing::Scalar),
                param(
                    "data",
                    1,
                    Passing::Out {
                        len: Some(|call, _| Some(call.word(0))),
                    },
                ),
            ],
        ),
        function(
            "find",
            6,
            &[
                param("count", 0, Passing::Scalar),
                param(
                    "places",
                    1,
                    Passing::NewArray {
                        kind: PLACE,
                        found: true,
                        parent: None,
                        len: |call, _| call.word(0).checked_mul(8),
                    },
                ),
                param("found", 5, Passing::Scalar),
            ],
        ),
        function(
            "list",
            2,
            &[param(
                "boxes",
                0,
                Passing::In {
                    len: None,
                    contents: Contents::Handles(BOX),
                },
            )],
        ),
        function("any", 3, &[optional("what", 0, Passing::HandleOrBytes)]),
        function("die", 1, &[param("value", 0, Passing::Scalar)]),
        Function {
            blocks: Some(|_, _| Some(1)),
            ..function("hang", 1, &[param("value", 0, Passing::Scalar)])
        },
        function(
            "write",
            2,
            &[param(
                "data",
                0,
                Passing::In {
                    len: None,
                    contents: Contents::Plain,
                },
            )],
        ),
        function(
            "properties",
            2,
            &[param(
                "list",
                0,
                Passing::In {
                    len: None,
                    contents: Contents::Properties(&[(5, BOX)]),
                },
            )],
        ),
        function(
            "queue",
            3,
            &[
                param("box", 0, Passing::Handle(BOX)),
                optional(
                    "__done",
                    1,
                    Passing::Out {
                        len: Some(|_, _| Some(4)),
                    },
                ),
            ],
        ),
    ],
    kinds: &[
        Kind {
            name: "box",
            invalid: NO_BOX,
        },
        Kind {
            name: "tag",
            invalid: -201,
        },
        Kind {
            name: "place",
            invalid: NO_PLACE,
        },
    ],
    errors: Errors {
        lost: -101,
        malformed: MALFORMED,
        quota: QUOTA,
        unsupported: UNSUPPORTED,
    },
};

pub static APIS: &[&Api] = &[&TOY];

/// Who waits for a call.
#[derive(Clone, Copy)]
pub struct Caller {
    pub lane: u32,
    pub seq: u32,
}

pub const NOBODY: Caller = Caller { lane: 0, seq: 0 };

pub fn caller(lane: u32, seq: u32) -> Caller {
    Caller { lane, seq }
}

fn header(function: u16, who: Caller) -> Header {
    Header {
        size: 0,
        api: API,
        function,
        lane: who.lane,
        seq: who.seq,
    }
}

/// A command whose words are these.
pub fn command(function: u16, who: Caller, words: &[u64]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut encoder = Encoder::new(&mut out, header(function, who), words.len());
    for (index, word) in words.iter().enumerate() {
        encoder.word(index, *word);
    }
    encoder.finish().unwrap();
    out
}

pub fn arena(at: u64, len: u64) -> [u64; 2] {
    let place = Place::Arena(at);
    Reference { place, len }.to_words()
}

pub fn ping(who: Caller, value: u64) -> Vec<u8> {
    command(PING, who, &[value])
}

/// `error_at`: where in the arena the error goes, 0 for nowhere.
pub fn make(who: Caller, parent: Handle, bytes: u64, error_at: u64, new: Handle) -> Vec<u8> {
    make_or_fail(who, parent, bytes, 0, error_at, new)
}

pub fn make_or_fail(
    who: Caller,
    parent: Handle,
    bytes: u64,
    outcome: u64,
    error_at: u64,
    new: Handle,
) -> Vec<u8> {
    let [place, len] = match error_at {
        0 => [0, 0],
        at => arena(at, 4),
    };
    let words = [parent.0, bytes, outcome, place, len, new.0];
    command(MAKE, who, &words)
}

pub fn retain(who: Caller, handle: Handle) -> Vec<u8> {
    command(RETAIN, who, &[handle.0])
}

pub fn release(who: Caller, handle: Handle) -> Vec<u8> {
    command(RELEASE, who, &[handle.0])
}

pub fn run(who: Caller, handle: Handle, ns: u64) -> Vec<u8> {
    command(RUN, who, &[handle.0, ns])
}

pub fn find(who: Caller, proposals: &[Handle], answer_at: u64, found: u64) -> Vec<u8> {
    let mut out = Vec::new();
    let mut encoder = Encoder::new(&mut out, header(FIND, who), 6);
    let bytes: Vec<u8> = proposals.iter().flat_map(|h| h.0.to_le_bytes()).collect();
    encoder.word(0, proposals.len() as u64);
    encoder.inline(1, &bytes);
    let [place, len] = arena(answer_at, bytes.len() as u64);
    encoder.word(3, place);
    encoder.word(4, len);
    encoder.word(5, found);
    encoder.finish().unwrap();
    out
}

pub fn list(who: Caller, handles: &[Handle]) -> Vec<u8> {
    let words: Vec<u64> = handles.iter().map(|handle| handle.0).collect();
    inline_words(LIST, who, &words)
}

pub fn properties(who: Caller, words: &[u64]) -> Vec<u8> {
    inline_words(PROPERTIES, who, words)
}

fn inline_words(function: u16, who: Caller, words: &[u64]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut encoder = Encoder::new(&mut out, header(function, who), 2);
    let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
    encoder.inline(0, &bytes);
    encoder.finish().unwrap();
    out
}

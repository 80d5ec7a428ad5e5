//! A command against its function's table: every length, reference and count.
//!
//! [`check`] is the whole of what stands between a guest's bytes and the code that decodes them; the
//! mediator runs it on its private copy, and the worker runs it again.

use crate::arena::{DATA_OFFSET, MAX_LANES};
use crate::command::{Call, Place, Reference};
use crate::function::{Api, Contents, Function, Kept, Param, Parent, Passing};
use crate::handle::Handle;

/// Why a command is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// Size, alignment or length of the row of words.
    #[error("the command's size does not fit its function")]
    Size,
    /// No such function in this API.
    #[error("there is no function {0}")]
    Function(u16),
    /// No such lane.
    #[error("there is no lane {0}")]
    Lane(u32),
    /// What a parameter's words say cannot be.
    #[error("{function}: parameter `{parameter}` {what}")]
    Parameter {
        /// The function's name.
        function: &'static str,
        /// The parameter's name.
        parameter: &'static str,
        /// What is wrong with it.
        what: &'static str,
    },
}

/// Checks the command that `bytes` consist of against `api`'s tables, for an arena of `arena_size`
/// bytes and the values that are `kept` with the client's objects. Afterwards every reference lies
/// inside of the command or of the arena's data, every length is the one that the function's other
/// values ask for, and nothing required is missing. Handles are checked for form only; whether they
/// name objects of this client, their table knows.
pub fn check<'a>(
    api: &'static Api,
    bytes: &'a [u8],
    arena_size: u64,
    kept: Kept<'_>,
) -> Result<(&'static Function, Call<'a>), Malformed> {
    let header = crate::command::Header::read(bytes).ok_or(Malformed::Size)?;
    let function = api
        .functions
        .get(usize::from(header.function))
        .ok_or(Malformed::Function(header.function))?;
    let call = Call::new(bytes, function.words).ok_or(Malformed::Size)?;
    if header.lane >= MAX_LANES {
        return Err(Malformed::Lane(header.lane));
    }
    for param in function.params {
        check_param(&call, param, arena_size, kept).map_err(|what| Malformed::Parameter {
            function: function.name,
            parameter: param.name,
            what,
        })?;
    }
    Ok((function, call))
}

fn check_param(
    call: &Call<'_>,
    param: &Param,
    arena_size: u64,
    kept: Kept<'_>,
) -> Result<(), &'static str> {
    match &param.passing {
        Passing::Scalar => Ok(()),
        Passing::Handle(_) | Passing::New { .. } => {
            handle(call.word(param.word), param.optional).map(drop)
        }
        Passing::NewArray { len, .. } => {
            let proposed = reference(call, param.word, param.optional, arena_size)?;
            let answer = reference(call, param.word + 2, param.optional, arena_size)?;
            if answer.place == Place::Null && proposed.place == Place::Null {
                return Ok(());
            }
            let wanted = len(call, kept).ok_or(NO_LENGTH)?;
            if answer.len != wanted || proposed.len != wanted {
                return Err("has another length than its count says");
            }
            written_to_arena(answer)?;
            each_word(inline(call, proposed)?, |word| {
                handle(word, false).map(drop)
            })
        }
        Passing::HandleOrBytes => {
            handle(call.word(param.word), true)?;
            reference(call, param.word + 1, true, arena_size).map(drop)
        }
        Passing::In { len, contents } => {
            let bytes = reference(call, param.word, param.optional, arena_size)?;
            if bytes.place == Place::Null {
                return Ok(());
            }
            exact_length(call, bytes, *len, kept)?;
            check_contents(call, bytes, contents)
        }
        Passing::Out { len } => {
            let bytes = reference(call, param.word, param.optional, arena_size)?;
            if bytes.place == Place::Null {
                return Ok(());
            }
            exact_length(call, bytes, *len, kept)?;
            written_to_arena(bytes)
        }
    }
}

/// A length that overflows, is negative, or depends on an object that there is not.
const NO_LENGTH: &str = "has a length that cannot be";

fn check_contents(
    call: &Call<'_>,
    bytes: Reference,
    contents: &Contents,
) -> Result<(), &'static str> {
    match contents {
        // Strings may lie in the arena, where they change under one's hands: the worker checks its
        // own copy as it takes it apart.
        Contents::Plain | Contents::Bulk | Contents::Strings => Ok(()),
        Contents::Handles(_) => {
            each_word(inline(call, bytes)?, |word| handle(word, false).map(drop))
        }
        Contents::Properties(keys) => properties(inline(call, bytes)?, keys, |_, _| Ok(())),
        Contents::Records { size, handles } => {
            records(inline(call, bytes)?, *size, handles, |_, _| Ok(()))
        }
    }
}

/// The handle that `word` is, if it could be one.
fn handle(word: u64, optional: bool) -> Result<Handle, &'static str> {
    match Handle(word) {
        handle if handle.is_null() && optional => Ok(handle),
        handle if handle.is_null() => Err("is null"),
        handle if handle.is_plausible() => Ok(handle),
        _ => Err("is not a handle"),
    }
}

/// The reference at `word`, checked to lie where it may.
fn reference(
    call: &Call<'_>,
    word: usize,
    optional: bool,
    arena_size: u64,
) -> Result<Reference, &'static str> {
    let found = call.reference(word).ok_or("is not a reference")?;
    match found.place {
        Place::Null if !optional => Err("is null"),
        Place::Null if found.len != 0 => Err("is null and has a length"),
        Place::Null => Ok(found),
        Place::Inline(_) => match call.inline(found) {
            Some(_) => Ok(found),
            None => Err("lies outside of its command"),
        },
        Place::Arena(at) => match at.checked_add(found.len) {
            Some(end) if at >= DATA_OFFSET && end <= arena_size => Ok(found),
            _ => Err("lies outside of the arena's data"),
        },
    }
}

fn exact_length(
    call: &Call<'_>,
    found: Reference,
    len: Option<crate::function::Expression>,
    kept: Kept<'_>,
) -> Result<(), &'static str> {
    let Some(len) = len else { return Ok(()) };
    match len(call, kept) {
        Some(wanted) if wanted == found.len => Ok(()),
        Some(_) => Err("has another length than the call's other values ask for"),
        None => Err(NO_LENGTH),
    }
}

fn inline<'a>(call: &Call<'a>, found: Reference) -> Result<&'a [u8], &'static str> {
    call.inline(found)
        .ok_or("holds handles and does not travel inside of its command")
}

fn written_to_arena(found: Reference) -> Result<(), &'static str> {
    match found.place {
        Place::Arena(_) => Ok(()),
        _ => Err("is written by the call and does not lie in the arena"),
    }
}

fn each_word(
    bytes: &[u8],
    mut f: impl FnMut(u64) -> Result<(), &'static str>,
) -> Result<(), &'static str> {
    let (words, rest) = bytes.as_chunks::<8>();
    if !rest.is_empty() {
        return Err("has a length that is not a multiple of 8");
    }
    words
        .iter()
        .try_for_each(|word| f(u64::from_le_bytes(*word)))
}

/// Goes through a property list and gives every handle in it, with its kind, to `f`.
fn properties(
    bytes: &[u8],
    keys: &[(u64, usize)],
    mut f: impl FnMut(usize, Handle) -> Result<(), &'static str>,
) -> Result<(), &'static str> {
    let (words, rest) = bytes.as_chunks::<8>();
    let mut words = words.iter().map(|word| u64::from_le_bytes(*word));
    while let Some(key) = words.next() {
        if key == 0 {
            return match words.next() {
                None if rest.is_empty() => Ok(()),
                _ => Err("goes on after its end"),
            };
        }
        let value = words.next().ok_or("has a key without a value")?;
        if let Some((_, kind)) = keys.iter().find(|(with_handle, _)| *with_handle == key) {
            let named = handle(value, true)?;
            if !named.is_null() {
                f(*kind, named)?;
            }
        }
    }
    Err("does not end")
}

/// Goes through structures of `size` bytes and gives every handle in them, with its kind, to `f`.
fn records(
    bytes: &[u8],
    size: usize,
    handles: &[(usize, usize)],
    mut f: impl FnMut(usize, Handle) -> Result<(), &'static str>,
) -> Result<(), &'static str> {
    if size == 0 || !bytes.len().is_multiple_of(size) {
        return Err("is not made of whole structures");
    }
    for record in bytes.chunks_exact(size) {
        for (offset, kind) in handles {
            let word = record.get(*offset..).and_then(<[u8]>::first_chunk::<8>);
            let word = word.ok_or("is too short for its handles")?;
            let named = handle(u64::from_le_bytes(*word), true)?;
            if !named.is_null() {
                f(*kind, named)?;
            }
        }
    }
    Ok(())
}

/// The handle of what a checked `call`'s new object belongs to; null for nothing.
pub fn parent_of(call: &Call<'_>, parent: Option<Parent>) -> Handle {
    let Some(parent) = parent else {
        return Handle::NULL;
    };
    let first = parent.first.and_then(|(word, offset)| {
        let bytes = call.inline(call.reference(word)?)?;
        let word = bytes.get(offset..)?.first_chunk::<8>()?;
        Some(Handle(u64::from_le_bytes(*word)))
    });
    match first {
        Some(first) if !first.is_null() => first,
        _ => Handle(call.word(parent.word)),
    }
}

/// How a call uses a handle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Use {
    /// It must name an object of this kind.
    Existing(usize),
    /// It must name an object of whatever kind.
    ExistingAny,
    /// It is proposed for a new object of this kind, which keeps `parent` alive.
    New {
        /// Kind of the new object.
        kind: usize,
        /// The object that it belongs to, or the null handle.
        parent: Handle,
        /// Whether the call may turn out to name an object that is known already.
        found: bool,
    },
}

/// Gives each handle that a checked `call` of `function` contains, and how the call uses it, to `f`;
/// stops at the first error.
pub fn handles<E>(
    function: &Function,
    call: &Call<'_>,
    mut f: impl FnMut(Handle, Use) -> Result<(), E>,
) -> Result<(), E> {
    for param in function.params {
        match &param.passing {
            Passing::Scalar | Passing::Out { .. } => {}
            Passing::Handle(kind) => {
                let named = Handle(call.word(param.word));
                if !named.is_null() {
                    f(named, Use::Existing(*kind))?;
                }
            }
            Passing::New { kind, parent } => {
                let named = Handle(call.word(param.word));
                let parent = parent_of(call, *parent);
                if !named.is_null() {
                    f(
                        named,
                        Use::New {
                            kind: *kind,
                            parent,
                            found: false,
                        },
                    )?;
                }
            }
            Passing::NewArray {
                kind,
                found,
                parent,
                ..
            } => {
                let usage = Use::New {
                    kind: *kind,
                    parent: parent_of(call, *parent),
                    found: *found,
                };
                for named in handle_list(call, param.word) {
                    f(named, usage)?;
                }
            }
            Passing::HandleOrBytes => {
                let named = Handle(call.word(param.word));
                if !named.is_null() {
                    f(named, Use::ExistingAny)?;
                }
            }
            Passing::In {
                contents: Contents::Handles(kind),
                ..
            } => {
                for named in handle_list(call, param.word) {
                    f(named, Use::Existing(*kind))?;
                }
            }
            Passing::In {
                contents: Contents::Properties(keys),
                ..
            } => {
                let bytes = call
                    .reference(param.word)
                    .and_then(|found| call.inline(found));
                let mut error = None;
                let _ = properties(bytes.unwrap_or_default(), keys, |kind, named| {
                    f(named, Use::Existing(kind)).map_err(|e| {
                        error = Some(e);
                        "refused"
                    })
                });
                if let Some(error) = error {
                    return Err(error);
                }
            }
            Passing::In {
                contents:
                    Contents::Records {
                        size,
                        handles: offsets,
                    },
                ..
            } => {
                let bytes = call
                    .reference(param.word)
                    .and_then(|found| call.inline(found));
                let mut error = None;
                let _ = records(bytes.unwrap_or_default(), *size, offsets, |kind, named| {
                    f(named, Use::Existing(kind)).map_err(|e| {
                        error = Some(e);
                        "refused"
                    })
                });
                if let Some(error) = error {
                    return Err(error);
                }
            }
            Passing::In { .. } => {}
        }
    }
    Ok(())
}

/// The handles of the inline list whose reference is at `word` of a checked call.
pub fn handle_list<'a>(call: &Call<'a>, word: usize) -> impl Iterator<Item = Handle> + use<'a> {
    let bytes = call
        .reference(word)
        .and_then(|found| call.inline(found))
        .unwrap_or_default();
    bytes
        .as_chunks::<8>()
        .0
        .iter()
        .map(|word| Handle(u64::from_le_bytes(*word)))
}

/// Bytes that a checked call carries to the worker, and that it may carry back.
pub fn traffic(function: &Function, call: &Call<'_>) -> (u64, u64) {
    let len = |word| call.reference(word).map_or(0, |found| found.len);
    function
        .params
        .iter()
        .fold((0, 0), |(into, out), param| match param.passing {
            Passing::In { .. } => (into + len(param.word), out),
            Passing::HandleOrBytes => (into + len(param.word + 1), out),
            Passing::Out { .. } => (into, out + len(param.word)),
            Passing::NewArray { .. } => (into, out + len(param.word + 2)),
            _ => (into, out),
        })
}

//! What a spec says of a call, as static tables that know no API. The spec compiler writes them;
//! the mediator and the worker read them.

use crate::command::Call;
use crate::handle::Handle;

/// One API.
#[derive(Debug)]
pub struct Api {
    /// Name, as in a configuration file: `opencl`.
    pub name: &'static str,
    /// Number, as in commands.
    pub id: u16,
    /// Functions by number.
    pub functions: &'static [Function],
    /// Kinds of objects by number.
    pub kinds: &'static [Kind],
    /// Errors that Weir itself gives.
    pub errors: Errors,
}

/// A kind of object.
#[derive(Debug)]
pub struct Kind {
    /// Name of the C type, such as `cl_mem`.
    pub name: &'static str,
    /// The API's error for a handle that names no such object.
    pub invalid: i64,
}

/// The API's words for what only Weir can find wrong.
#[derive(Debug)]
pub struct Errors {
    /// The client's worker is gone.
    pub lost: i64,
    /// A command that no honest library sends, or a value outside of what the spec allows.
    pub malformed: i64,
    /// The tenant's memory quota is used up.
    pub quota: i64,
    /// The function is not carried.
    pub unsupported: i64,
}

/// Where the values that are kept with a client's objects are looked up. `None`: there is no such
/// object.
pub type Kept<'a> = &'a dyn Fn(Handle) -> Option<u64>;

/// For a client without objects.
pub const NOTHING_KEPT: Kept<'static> = &|_| None;

/// A number of bytes or a condition that follows from a call's words and from what is kept with the
/// objects that it names. `None`: it has no value.
pub type Expression = fn(&Call<'_>, Kept<'_>) -> Option<u64>;

/// One function.
#[derive(Debug)]
pub struct Function {
    /// Name of the C function.
    pub name: &'static str,
    /// Words of its commands.
    pub words: usize,
    /// What the words mean.
    pub params: &'static [Param],
    /// Where its error goes.
    pub failure: Failure,
    /// Whether it may block or take long, so that the worker must not hold up other lanes.
    pub blocks: Option<Expression>,
    /// Bytes of device memory that its new object (the first one that it makes) holds.
    pub holds: Option<Expression>,
    /// The error where its new object alone would hold more than the tenant may; where `None`, the one
    /// for a quota that is used up.
    pub too_large: Option<i64>,
    /// The value that is kept with its new object (the first one that it makes).
    pub keeps: Option<Expression>,
    /// Whether it makes the device work, for which time is charged.
    pub device_time: bool,
    /// How its work is put into an order with other work, where it goes on after the call.
    pub order: Option<Order>,
    /// Word of the handle that it adds a reference to.
    pub retains: Option<usize>,
    /// Word of the handle that it drops a reference of.
    pub releases: Option<usize>,
}

/// How work that a call leaves behind is put into an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Order {
    /// Word of the handle of the line (a queue) that it is given to.
    pub line: usize,
    /// Word of the list of handles that it waits for.
    pub waits: Option<usize>,
}

/// Where a function's error goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// It is the return value.
    Return,
    /// An `i32` behind the out-parameter whose reference is at this word; the return value is null.
    Out(usize),
}

/// One parameter, or the return value of a function that makes an object.
#[derive(Debug)]
pub struct Param {
    /// Name in the prototype.
    pub name: &'static str,
    /// Its first word.
    pub word: usize,
    /// Whether the program may pass null.
    pub optional: bool,
    /// What it is.
    pub passing: Passing,
}

/// How a parameter travels.
#[derive(Debug)]
pub enum Passing {
    /// One word: its bits.
    Scalar,
    /// One word: the handle of an existing object of this kind.
    Handle(usize),
    /// One word: the handle that the guest library proposes for a new object of this kind, which
    /// keeps its parent alive.
    New {
        /// Kind of the new object.
        kind: usize,
        /// The handle that it belongs to.
        parent: Option<Parent>,
    },
    /// Four words: a reference to proposed handles (inline, 8 bytes each), and one to where in the
    /// arena the answer goes (8 bytes each).
    NewArray {
        /// Kind of the objects.
        kind: usize,
        /// Whether they may be known already; such objects stay. Else the call makes them.
        found: bool,
        /// The handle that each of them belongs to.
        parent: Option<Parent>,
        /// Bytes of the answer.
        len: Expression,
    },
    /// Three words: a handle of any kind or null, and a reference to bytes. Where there are both, the
    /// bytes name the object to the program, and the call says which it is.
    HandleOrBytes,
    /// Two words: a reference to bytes that the call reads.
    In {
        /// Bytes that there must be; where `None`, as many as the reference says.
        len: Option<Expression>,
        /// What the bytes are.
        contents: Contents,
    },
    /// Two words: a reference to arena bytes that the call writes.
    Out {
        /// Bytes that there must be; where `None`, as many as the reference says.
        len: Option<Expression>,
    },
}

/// Where a call says what its new object belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parent {
    /// Word of the handle.
    pub word: usize,
    /// Where one may stand that goes before it, if it is there and not null: the word of a reference
    /// to inline bytes, and an offset in them.
    pub first: Option<(usize, usize)>,
}

/// What the bytes of an input are.
#[derive(Debug)]
pub enum Contents {
    /// Bytes that the worker copies before it looks at them.
    Plain,
    /// Bytes for the device: the vendor library reads them where they are.
    Bulk,
    /// Handles of existing objects, 8 bytes each; inline.
    Handles(usize),
    /// Structures of `size` bytes each; inline. At each of these offsets in one is a handle of that
    /// kind, or null.
    Records {
        /// Bytes of a structure.
        size: usize,
        /// Offsets of handles, and their kinds.
        handles: &'static [(usize, usize)],
    },
    /// Words in pairs of key and value, ended by a zero key; inline. The value after each of these
    /// keys is a handle of that kind, or null.
    Properties(&'static [(u64, usize)]),
    /// `u64` count, then as many `u64` lengths, then the strings' bytes back to back.
    Strings,
}

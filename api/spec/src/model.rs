//! A spec, parsed, checked and laid out: what every generator reads.

use std::path::PathBuf;
use std::sync::Arc;

use crate::expression::{Definition, Expression, Operator};

/// One API.
#[derive(Debug)]
pub struct Spec {
    /// File that it was read from.
    pub file: PathBuf,
    /// Name, as in a configuration file: `opencl`.
    pub name: String,
    /// Number, as in commands.
    pub id: u16,
    /// File name of the vendor library.
    pub library: String,
    /// Whether the guest library stands in for the library under its own name: its functions are
    /// exported, and the first call becomes a client. (Otherwise somebody else finds the functions,
    /// such as a loader, and hand-written code becomes a client.)
    pub interposed: bool,
    /// Kind of the objects that tell when a command is complete, if the API has such.
    pub event: Option<usize>,
    /// Errors that Weir itself gives.
    pub errors: Errors,
    /// Kinds of objects, by number.
    pub kinds: Vec<Kind>,
    /// Type aliases that are not handles, in the file's order.
    pub aliases: Vec<Alias>,
    /// Structures, in the file's order.
    pub structs: Vec<Struct>,
    /// Constants, in the file's order.
    pub constants: Vec<Constant>,
    /// Functions that expressions may call, in the file's order.
    pub definitions: Vec<Arc<Definition>>,
    /// Names of the extensions that are carried, sorted: those that are said to have no functions, and
    /// those whose functions are all carried.
    pub extensions: Vec<String>,
    /// Functions, by number. Their order is the file's.
    pub functions: Vec<Function>,
}

/// The API's words for what only Weir can find wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Errors {
    /// The client's worker is gone.
    pub lost: i64,
    /// A command that no honest library sends.
    pub malformed: i64,
    /// The tenant's memory quota is used up.
    pub quota: i64,
    /// The function is not carried.
    pub unsupported: i64,
}

/// A kind of object.
#[derive(Debug)]
pub struct Kind {
    /// Name of the C type, such as `cl_mem`.
    pub name: String,
    /// The API's error for a handle that names no such object.
    pub invalid: i64,
}

/// `type name = target;`
#[derive(Debug)]
pub struct Alias {
    /// Its name.
    pub name: String,
    /// What it stands for, as written.
    pub target: syn::Type,
    /// What it stands for.
    pub resolved: Type,
}

/// A C structure.
#[derive(Debug)]
pub struct Struct {
    /// Its name.
    pub name: String,
    /// The declaration, as written.
    pub item: syn::ItemStruct,
    /// Bytes.
    pub size: u64,
    /// Alignment in bytes.
    pub align: u64,
    /// Its fields.
    pub fields: Vec<StructField>,
}

/// A field of a structure.
#[derive(Debug)]
pub struct StructField {
    /// Its name.
    pub name: String,
    /// Its type.
    pub ty: Type,
    /// Where it lies.
    pub offset: u64,
}

impl Struct {
    /// Offsets and kinds of the handles in it.
    pub fn handles(&self) -> Vec<(u64, usize)> {
        self.fields
            .iter()
            .filter_map(|field| match field.ty {
                Type::Handle(kind) => Some((field.offset, kind)),
                _ => None,
            })
            .collect()
    }
}

/// A constant.
#[derive(Debug)]
pub struct Constant {
    /// Its name.
    pub name: String,
    /// Its type, as written.
    pub ty: syn::Type,
    /// Its value.
    pub value: i128,
}

/// What a C type is, on x86-64.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Type {
    /// An integer.
    Int {
        /// Its size.
        bytes: u8,
        /// Whether it has a sign.
        signed: bool,
    },
    /// A floating-point number of so many bytes.
    Float(u8),
    /// A handle of this kind.
    Handle(usize),
    /// A structure, by its index.
    Struct(usize),
    /// A pointer.
    Pointer {
        /// Whether it is a pointer to non-const.
        mutable: bool,
        /// What it points to.
        to: Box<Type>,
    },
    /// `c_void`.
    Void,
    /// A function pointer (which may be null).
    Function,
    /// No value: what a function without `->` returns.
    Nothing,
}

/// One function.
#[derive(Debug)]
pub struct Function {
    /// Name of the C function.
    pub name: String,
    /// Its number in commands, which is its index.
    pub number: u16,
    /// Its parameters. Those with [`Param::extra`] are not part of the C prototype.
    pub params: Vec<Param>,
    /// What it returns, as written; `None`: nothing.
    pub returns: Option<syn::Type>,
    /// What it returns.
    pub return_type: Type,
    /// How it is carried.
    pub carried: Carried,
    /// The extension that it comes from.
    pub extension: Option<Extension>,
    /// Whether the guest library exports it under its name, although others find it otherwise.
    pub exported: bool,
    /// The object that it makes and returns.
    pub new: Option<New>,
    /// Where its error goes.
    pub failure: Failure,
    /// Whether the guest goes on without waiting for an answer.
    pub queued: Condition,
    /// Whether, and if so when, the guest goes on without waiting although it is not `queued`,
    /// because an equal call has succeeded before.
    pub repeats: Condition,
    /// The parameter (index) of whose object it sets a part, and the one that says which part.
    pub sets: Option<(usize, usize)>,
    /// Whether everything queued goes out with it, although nobody waits for it.
    pub submits: bool,
    /// Whether it may block or take long in the worker.
    pub blocks: Condition,
    /// Bytes of device memory that its new object holds.
    pub holds: Option<Expression>,
    /// The error where its new object alone would hold more than there is.
    pub too_large: Option<i64>,
    /// The value that is kept with its new object.
    pub keeps: Option<Expression>,
    /// Whether its answer never changes for the same scalars, handles and input bytes, so that the
    /// guest may keep it.
    pub cached: Condition,
    /// How it goes in pieces, where the arena could not hold the whole of its bulk data.
    pub split: Option<Split>,
    /// Whether it makes the device work.
    pub device_time: bool,
    /// Whether it can be made piece by piece, and how.
    pub folds: Option<Fold>,
    /// Parameter (index) whose handle it adds a reference to.
    pub retains: Option<usize>,
    /// Parameter (index) whose handle it drops a reference of.
    pub releases: Option<usize>,
    /// First word of the reference to the "complete" word: there if it may be queued and has bulk
    /// parameters.
    pub done: Option<usize>,
    /// Words of its commands.
    pub words: usize,
}

/// What makes a function one of an extension.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Extension {
    /// The extension's name.
    pub name: String,
    /// The function's name there, if it is in the core as well, under the name of its own.
    pub alias: Option<String>,
}

impl Function {
    /// Whether the vendor library has it only as part of an extension, so that it may lack it although
    /// it has a symbol of that name.
    pub fn is_extension_only(&self) -> bool {
        self.extension.as_ref().is_some_and(|e| e.alias.is_none())
    }

    /// Its name in the extension that it comes from.
    pub fn extension_name(&self) -> Option<&str> {
        let extension = self.extension.as_ref()?;
        Some(extension.alias.as_ref().unwrap_or(&self.name))
    }

    /// Whether there are calls of it that nobody waits for.
    pub fn may_be_queued(&self) -> bool {
        !matches!(
            (&self.queued, &self.repeats),
            (Condition::Never, Condition::Never)
        )
    }

    /// Every expression that mediator and worker compute.
    pub fn computed(&self) -> Vec<&Expression> {
        let mut all: Vec<&Expression> = self.holds.iter().chain(&self.keeps).collect();
        if let Condition::If(blocks) = &self.blocks {
            all.push(blocks);
        }
        for param in &self.params {
            all.extend(&param.passed_as);
            match &param.role {
                Role::Input { len, contents } => {
                    all.extend(len);
                    if let Contents::Strings { count, .. } = contents {
                        all.push(count);
                    }
                }
                Role::Output { len, .. }
                | Role::Found { len, .. }
                | Role::NewList { len, .. }
                | Role::HandleOrBytes { len, .. } => {
                    all.push(len);
                }
                _ => {}
            }
        }
        all
    }
}

/// How a function is carried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Carried {
    /// Not: it returns this error.
    Unsupported(i64),
    /// Written by hand in the guest library, out of other functions: it has no command.
    Local,
    /// Not: the guest library calls the function in one parameter with the data in another when the
    /// object in a third is gone; parameters by index.
    AtEnd {
        /// The object.
        object: usize,
        /// The function.
        function: usize,
        /// Its data.
        data: usize,
    },
    /// Not, as it is a hint that may be ignored: it succeeds if its handles name objects.
    Ignored,
    /// Not: it returns the address of the API's function whose name the parameter with this index
    /// points to.
    Finds(usize),
    /// As a command. For each side, whether that side's part is written by hand.
    Command {
        /// The guest library's C entry point is.
        by_hand_guest: bool,
        /// The worker's dispatch is.
        by_hand_worker: bool,
    },
}

/// Whether something is so for a call.
#[derive(Debug)]
pub enum Condition {
    /// For none.
    Never,
    /// For each.
    Always,
    /// Where this expression is not zero.
    If(Expression),
}

/// A new object that a function makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct New {
    /// Its kind.
    pub kind: usize,
    /// Parameter (index) with the handle of the object that it belongs to and keeps alive.
    pub parent: Option<usize>,
    /// A handle that goes before it if it is not null: in the structure that the parameter with this
    /// index points to, at this offset.
    pub first: Option<(usize, u64)>,
    /// Word with the handle that the guest proposes.
    pub word: usize,
}

/// Where a function's error goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// It is the return value.
    Return,
    /// Into the out-parameter with this index; the return value is null.
    Out(usize),
    /// Into a place that only Weir knows of: the API has none. What the function returns then is
    /// `fallback`.
    Beside {
        /// First word of the reference to that place.
        word: usize,
        /// What becomes of the program's call.
        fallback: Fallback,
    },
    /// Nowhere: the function returns nothing, and nobody needs to know.
    Nowhere,
}

/// What a function that has no errors of its own does where Weir has one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fallback {
    /// It returns this.
    Value(i128),
    /// It ends the program: any value would be taken for a result.
    Abort,
}

/// How a call is made piece by piece: the value that one piece returns goes into the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fold {
    /// Parameter (index) that the value goes into.
    pub value: usize,
    /// Parameter (index) with the bytes.
    pub bytes: usize,
    /// Parameter (index) that says how many.
    pub len: usize,
}

/// One parameter.
#[derive(Debug)]
pub struct Param {
    /// Its name.
    pub name: String,
    /// Its type, as written.
    pub ty: syn::Type,
    /// Its type.
    pub resolved: Type,
    /// How it travels.
    pub role: Role,
    /// Whether the program may pass null.
    pub optional: bool,
    /// The error for what names no object here, if it is not that of the kind of object.
    pub invalid: Option<i64>,
    /// Whether it is not in the C prototype: hand-written guest code passes it to the encoder.
    pub extra: bool,
    /// How its bulk data lies in the program's memory; `None`: in one piece.
    pub shape: Option<Shaped>,
    /// What the vendor is given in its place.
    pub passed_as: Option<Expression>,
    /// Where this is not zero, the memory that it points to is the new object's from now on, and the
    /// guest library remembers where it is.
    pub lent: Option<Expression>,
    /// Its first word. Meaningless where its role has no words.
    pub word: usize,
}

/// Rows of bytes, evenly spaced, in evenly spaced slices. Only their own bytes travel; the vendor is
/// given pitches that leave nothing between them, and an origin of zeros.
#[derive(Debug)]
pub struct Shaped {
    /// Bytes of a row, rows of a slice, slices.
    pub extent: [Expression; 3],
    /// Bytes from one row to the next and from one slice to the next; 0: nothing is between them. Each
    /// is a parameter, a field or a number.
    pub pitches: [Expression; 2],
    /// Parameter (index) with the first byte's column, row and slice.
    pub origin: Option<usize>,
    /// The error for pitches that cannot be.
    pub invalid: i64,
}

impl Shaped {
    /// The pitches with nothing between rows and slices. That of a single slice is 0: there are things
    /// without slices, of which the vendor expects that.
    pub fn tight(&self) -> [Expression; 2] {
        let [row, rows, slices] = self.extent.clone();
        let number = |n| Box::new(Expression::Number(n));
        let many = Expression::Binary(Operator::Greater, slices.into(), number(1));
        let plane = Expression::Binary(Operator::Multiply, row.clone().into(), rows.into());
        [row, Expression::If(many.into(), plane.into(), number(0))]
    }
}

/// The parameters of a transfer that can go in pieces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Split {
    /// Parameter (index) that says where in the object it begins.
    pub offset: usize,
    /// Parameter (index) that says how many bytes.
    pub len: usize,
    /// Parameter (index) that says whether the call waits.
    pub blocking: usize,
}

/// How a parameter travels.
#[derive(Debug)]
pub enum Role {
    /// One word: the value's bits, extended with zeros.
    Scalar,
    /// One word: the handle of an existing object.
    Handle(usize),
    /// Two words: bytes that the call reads.
    Input {
        /// How many elements (bytes, for `c_void`); `None` for strings and property lists, which
        /// end by themselves.
        len: Option<Expression>,
        /// What they are.
        contents: Contents,
    },
    /// Two words: bytes that the call writes.
    Output {
        /// How many elements (bytes, for `c_void`) there is room for.
        len: Expression,
        /// How many bytes of it are the answer; `None`: all.
        written: Option<Expression>,
        /// Whether the device writes them, possibly after the call.
        bulk: bool,
        /// Which answers contain handles.
        answers: Option<Answers>,
    },
    /// Two words: the `int` into which the function's error goes.
    Error,
    /// One word: the proposed handle of an object that the call makes and stores here; null if the
    /// program passes null.
    New(New),
    /// Four words: proposed handles of objects that the call makes, and where the answer goes.
    NewList {
        /// What each of them is.
        new: New,
        /// How many there is room for.
        len: Expression,
    },
    /// Four words: proposed handles of objects that the call finds, and where the answer goes.
    Found {
        /// Their kind.
        kind: usize,
        /// How many there is room for.
        len: Expression,
    },
    /// Three words: `arg_value` of `clSetKernelArg`: bytes that may be one handle.
    HandleOrBytes {
        /// How many bytes.
        len: Expression,
        /// Of which kinds.
        kinds: Vec<usize>,
    },
    /// No words: the lengths of the strings in another parameter, which has them.
    Lengths,
    /// No words: a function that is called back.
    Callback(Callback),
    /// No words: what a callback is given.
    UserData,
    /// No words: seen by hand-written guest code only. The worker passes zero, and for a pointer
    /// with a length one to so many zeros.
    GuestOnly {
        /// How many elements.
        len: Option<Expression>,
    },
}

impl Role {
    /// Words that it takes in a command.
    pub fn words(&self) -> usize {
        match self {
            Role::Scalar | Role::Handle(_) | Role::New(_) => 1,
            Role::Input { .. } | Role::Output { .. } | Role::Error => 2,
            Role::HandleOrBytes { .. } => 3,
            Role::NewList { .. } | Role::Found { .. } => 4,
            Role::Lengths | Role::Callback(_) | Role::UserData | Role::GuestOnly { .. } => 0,
        }
    }
}

/// What the bytes of an input are.
#[derive(Debug)]
pub enum Contents {
    /// Bytes.
    Plain,
    /// Bytes that the device reads, possibly after the call.
    Bulk,
    /// A zero-terminated string; the zero travels with it.
    String,
    /// The same, of options; after its zero travel the files that the texts of the call's objects
    /// include.
    Options,
    /// Structures that contain handles: the index of the structure.
    Records(usize),
    /// Handles of existing objects of this kind.
    Handles(usize),
    /// Pairs of key and value, ended by a zero key. The value of each of these keys is a handle of
    /// that kind.
    Properties(Vec<(u64, usize)>),
    /// An array of strings.
    Strings {
        /// How many.
        count: Expression,
        /// Parameter (index) with their lengths, which may be null, and in which 0 stands for a
        /// zero-terminated string if the strings are of `c_char`.
        lengths: Option<usize>,
        /// Whether they are text that may include files.
        include: bool,
    },
}

/// Which answers of a query contain handles, or names of files.
#[derive(Debug)]
pub struct Answers {
    /// Parameter (index) that says what is asked for.
    pub query: usize,
    /// For its value, what the answer is made of.
    pub cases: Vec<(u64, Answer)>,
}

/// An answer that is not passed on as it is.
#[derive(Debug)]
pub enum Answer {
    /// Nothing but handles of this kind, 8 bytes each.
    Handles(usize),
    /// A property list; the value of each of these keys is a handle of that kind.
    Properties(Vec<(u64, usize)>),
    /// Text that may name files, which travelled with [`Contents::Options`].
    Text,
}

/// What becomes of a callback.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Callback {
    /// The guest library calls it when the call has returned.
    After,
    /// It is never called: nothing that it would report can happen.
    Never,
    /// The function fails if it is not null.
    Unsupported,
}

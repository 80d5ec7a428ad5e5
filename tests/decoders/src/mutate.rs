//! Commands that no guest library sends: changed ones and random ones. Whatever passes the check must
//! reach the vendor with pointers that are good for as many bytes as the function's other arguments
//! say; so the vendor library here touches every byte.

use std::cell::RefCell;
use std::sync::Arc;

use weir_runtime::library::Library;
use weir_runtime::objects::Known;
use weir_runtime::scratch::Scratch;
use weir_runtime::session::Session;
use weir_runtime::turn;
use weir_spec::Spec;
use weir_spec::expression::{Expression, Leaf};
use weir_spec::model::{Contents, Function, Role, Type};
use weir_wire::arena::{DATA_OFFSET, MIN_SIZE};
use weir_wire::channel::{Received, VmmEnd};
use weir_wire::check::{Use, check, handles};
use weir_wire::command::{HEADER_SIZE, Header};
use weir_wire::handle::Handle;

use crate::mediator::{Nobody, new_session};
use crate::source::Source;
use crate::values::{KEPT, value};
use crate::{APIS, Sides};

/// A worker for commands of one API, whose vendor library touches all that it is given.
pub struct Worker {
    sides: &'static Sides,
    spec: &'static Spec,
    library: Arc<dyn Library>,
    session: Session,
    vmm: VmmEnd,
    scratch: Scratch,
    next: u64,
}

/// Where the vendor's function finds out what its arguments are: its thread's.
struct Stage {
    spec: &'static Spec,
    arena: u64,
}

thread_local! {
    static STAGE: RefCell<Option<Stage>> = const { RefCell::new(None) };
    static WORKERS: RefCell<Vec<Worker>> = const { RefCell::new(Vec::new()) };
}

/// What became of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// The check refuses it.
    Refused,
    /// It was taken apart.
    Taken,
}

/// Has `bytes` checked and taken apart by the worker of the API that they name, or of the first.
///
/// # Panics
/// If a pointer is not good for what it is said to be.
pub fn run(bytes: &[u8]) -> Fate {
    WORKERS.with_borrow_mut(|workers| {
        if workers.is_empty() {
            workers.extend(APIS.iter().map(Worker::new));
        }
        let api = Header::read(bytes).map_or(0, |header| header.api);
        let found = workers.iter().position(|worker| worker.sides.api.id == api);
        workers[found.unwrap_or(0)].run(bytes)
    })
}

impl Worker {
    fn new(sides: &'static Sides) -> Worker {
        let (session, vmm, _arena) = new_session();
        Worker {
            sides,
            spec: sides.read(),
            library: (sides.library)(),
            session,
            vmm,
            scratch: Scratch::default(),
            next: 1,
        }
    }

    fn run(&mut self, bytes: &[u8]) -> Fate {
        let objects = &self.session.objects;
        let kept = |_: Handle| Some(KEPT);
        let checked = check(self.sides.api, bytes, MIN_SIZE, &kept);
        if let Ok((function, call)) = &checked {
            // As the mediator's table would have it: what is named exists.
            let _ = handles(function, call, |handle, usage| {
                let kind = match usage {
                    Use::Existing(kind) => kind,
                    Use::ExistingAny => 0,
                    _ => return Ok::<(), ()>(()),
                };
                let known = Known {
                    kept: KEPT,
                    ..Known::default()
                };
                let pointer = std::ptr::without_provenance_mut(0x1000 * (kind + 1));
                if objects.find_any(handle).is_none() {
                    objects.bind(handle, kind, pointer, known);
                }
                Ok(())
            });
        }
        let fate = match checked {
            Ok(_) => Fate::Taken,
            Err(_) => Fate::Refused,
        };
        let arena = self.session.arena.memory().address(0, 0);
        let arena = arena.expect("an arena begins").as_ptr().expose_provenance() as u64;
        STAGE.set(Some(Stage {
            spec: self.spec,
            arena,
        }));
        let id = self.next;
        self.next += 1;
        let received = Received { id, gated: false };
        let (session, scratch) = (&self.session, &mut self.scratch);
        turn::run(
            session,
            &self.library,
            received,
            bytes,
            scratch,
            &mut Nobody,
        );
        self.session.tracker.sweep(&self.session);
        STAGE.set(None);
        while let Ok(Some(_)) = self.vmm.next_completion() {}
        fate
    }
}

/// Changes a command here and there.
pub fn mutate(bytes: &mut Vec<u8>, source: &mut Source<'_>) {
    for _ in 0..=source.below(4) {
        if bytes.len() < HEADER_SIZE {
            return;
        }
        let words = bytes.len() / 8;
        match source.below(8) {
            0 => {
                let at = source.below(bytes.len() as u64) as usize;
                bytes[at] ^= 1 << source.below(8);
            }
            1..=3 => {
                let at = 8 * source.below(words as u64) as usize;
                let word = interesting(source);
                bytes[at..at + 8].copy_from_slice(&word.to_le_bytes());
            }
            4 => {
                let at = 8 * source.below(words as u64) as usize;
                let word = u64::from_le_bytes(std::array::from_fn(|i| bytes[at + i]));
                let word = word.wrapping_add(source.below(17)).wrapping_sub(8);
                bytes[at..at + 8].copy_from_slice(&word.to_le_bytes());
            }
            5 => bytes.truncate(8 * source.below(words as u64) as usize),
            6 => bytes.extend_from_slice(&source.word().to_le_bytes()),
            _ => {
                let [from, to] = [0; 2].map(|_| 8 * source.below(words as u64) as usize);
                bytes.copy_within(from..from + 8, to);
            }
        }
        if !source.one_in(16) && bytes.len() >= HEADER_SIZE {
            let size = (bytes.len() as u32).to_le_bytes();
            bytes[..4].copy_from_slice(&size);
        }
    }
}

/// A word that a parser may stumble over.
fn interesting(source: &mut Source<'_>) -> u64 {
    match source.below(9) {
        0 => 0,
        1 => u64::MAX,
        2 => 1 << 62 | source.below(200),
        3 => (2 << 62) | (DATA_OFFSET + source.below(100)),
        4 => (2 << 62) | (MIN_SIZE - source.below(100)),
        5 => 1 << source.below(64),
        6 => source.below(300),
        7 => 1 << 32 | source.below(40),
        _ => source.word(),
    }
}

/// If this thread's worker is on stage: touches all that the arguments of a function point to, and
/// returns what the function returns.
pub(crate) fn touch(number: u16, arguments: &[u64]) -> Option<u64> {
    STAGE.with_borrow(|stage| {
        let stage = stage.as_ref()?;
        let function = &stage.spec.functions[usize::from(number)];
        let toucher = Toucher {
            stage,
            function,
            arguments,
        };
        toucher.all();
        // Made-up objects differ; what returns an error has none.
        Some(match function.new {
            Some(_) => 0x5000_0000 + u64::from(number) * 16,
            None => 0,
        })
    })
}

struct Toucher<'a> {
    stage: &'a Stage,
    function: &'static Function,
    arguments: &'a [u64],
}

impl Toucher<'_> {
    /// The C argument of a parameter; 0 for one that C does not have.
    fn argument(&self, index: usize) -> u64 {
        let params = &self.function.params;
        match params[index].extra {
            true => 0,
            false => {
                let before = params[..index].iter().filter(|param| !param.extra).count();
                self.arguments[before]
            }
        }
    }

    fn all(&self) {
        for (index, param) in self.function.params.iter().enumerate() {
            let at = self.argument(index);
            match &param.role {
                Role::Scalar | Role::Handle(_) | Role::Callback(_) | Role::UserData => {}
                Role::Lengths | Role::GuestOnly { len: None } => {}
                _ if at == 0 => {}
                Role::Input { len, contents } => self.input(index, at, len.as_ref(), contents),
                Role::Output { len, .. } => self.write(index, at, self.bytes(index, len)),
                Role::Error => self.write(index, at, 4),
                Role::New(_) => self.write(index, at, 8),
                Role::Found { len, .. } | Role::NewList { len, .. } => {
                    self.write(index, at, self.bytes(index, len));
                }
                Role::HandleOrBytes { len, .. } | Role::GuestOnly { len: Some(len) } => {
                    self.read(index, at, self.bytes(index, len));
                }
            }
        }
    }

    fn input(&self, index: usize, at: u64, len: Option<&Expression>, contents: &Contents) {
        match contents {
            Contents::Plain | Contents::Bulk | Contents::Records(_) | Contents::Handles(_) => {
                let bytes = len.map_or(0, |len| self.bytes(index, len));
                self.read(index, at, bytes);
            }
            Contents::String | Contents::Options => {
                let text = std::ptr::with_exposed_provenance(at as usize);
                // SAFETY: what is called a string has been found to end.
                std::hint::black_box(unsafe { std::ffi::CStr::from_ptr(text) }.to_bytes().len());
            }
            Contents::Properties(_) => {
                let mut at = at;
                while self.word(at) != 0 {
                    self.word(at + 8);
                    at += 16;
                }
            }
            Contents::Strings { count, lengths, .. } => {
                let count = self.evaluate(count).and_then(|n| u64::try_from(n).ok());
                let lengths = lengths.map(|lengths| self.argument(lengths));
                for n in 0..count.unwrap_or_else(|| self.complain(index, "no count")) {
                    let text = self.word(at + 8 * n);
                    if let Some(lengths) = lengths {
                        self.read(index, text, self.word(lengths + 8 * n));
                    }
                }
            }
        }
    }

    fn word(&self, at: u64) -> u64 {
        // SAFETY: the dispatch says that it is good.
        unsafe { std::ptr::with_exposed_provenance::<u64>(at as usize).read_unaligned() }
    }

    fn complain(&self, index: usize, what: &str) -> ! {
        let function = self.function;
        panic!(
            "{}: `{}`: {what}",
            function.name, function.params[index].name
        );
    }

    /// Whether it is in the arena, where bytes belong only behind its head.
    fn check_place(&self, index: usize, at: u64, len: u64) {
        let arena = self.stage.arena..self.stage.arena + MIN_SIZE;
        if arena.contains(&at) {
            let begins = at - arena.start >= DATA_OFFSET;
            let ends = at.checked_add(len).is_some_and(|end| end <= arena.end);
            if !begins || !ends {
                self.complain(index, "leaves the arena's data");
            }
        } else if at < arena.start && at.checked_add(len).is_none_or(|end| end > arena.start) {
            self.complain(index, "reaches into the arena");
        }
    }

    fn read(&self, index: usize, at: u64, len: u64) {
        self.check_place(index, at, len);
        let pointer = std::ptr::with_exposed_provenance::<u8>(at as usize);
        let mut sum = 0u8;
        for offset in 0..len as usize {
            // SAFETY: the dispatch says that it is good for so many bytes.
            sum = sum.wrapping_add(unsafe { pointer.add(offset).read() });
        }
        std::hint::black_box(sum);
    }

    fn write(&self, index: usize, at: u64, len: u64) {
        self.check_place(index, at, len);
        let pointer = std::ptr::with_exposed_provenance_mut::<u8>(at as usize);
        // SAFETY: the dispatch says that it is good for so many bytes.
        unsafe { pointer.write_bytes(0, len as usize) };
    }

    fn bytes(&self, index: usize, len: &Expression) -> u64 {
        // What the vendor is given in place of a parameter is no measure.
        let is_replaced = |leaf: &&Leaf| match leaf {
            Leaf::Param(index) => self.function.params[*index].passed_as.is_some(),
            _ => false,
        };
        if len.leaves().iter().any(is_replaced) {
            return 0;
        }
        let size = self
            .stage
            .spec
            .element_size(&self.function.params[index].resolved);
        let count = self.evaluate(len).and_then(|n| u64::try_from(n).ok());
        let bytes = count.and_then(|count| count.checked_mul(size));
        bytes.unwrap_or_else(|| self.complain(index, "has no length"))
    }

    fn evaluate(&self, expression: &Expression) -> Option<i128> {
        let params = &self.function.params;
        let number = |index: usize, offset: u64, ty: &Type| {
            let (bytes, at) = match ty {
                Type::Int { bytes, .. } => (usize::from(*bytes), self.argument(index)),
                _ => return None,
            };
            if at == 0 {
                return Some(0);
            }
            let from = std::ptr::with_exposed_provenance::<u8>((at + offset) as usize);
            let mut word = [0; 8];
            // SAFETY: the dispatch says that the array is good for what lengths are read from.
            unsafe { std::ptr::copy_nonoverlapping(from, word.as_mut_ptr(), bytes) };
            Some(value(u64::from_le_bytes(word), ty))
        };
        expression.evaluate(&mut |leaf| match leaf {
            Leaf::Param(index) => Some(value(self.argument(*index), &params[*index].resolved)),
            Leaf::Element(index, element) => {
                let Type::Pointer { to, .. } = &params[*index].resolved else {
                    return None;
                };
                let size = self.stage.spec.element_size(&params[*index].resolved);
                number(*index, *element as u64 * size, to)
            }
            Leaf::Field(field) => {
                let ty = Type::Int {
                    bytes: field.bytes,
                    signed: field.signed,
                };
                number(field.param, field.offset, &ty)
            }
            Leaf::IsNull(index) => Some(i128::from(self.argument(*index) == 0)),
            Leaf::Kept(_) => Some(KEPT.into()),
            Leaf::Bytes(_) => Some(0),
            Leaf::Deref(_) | Leaf::Returned | Leaf::Related(_) | Leaf::Argument(_) => None,
        })
    }
}

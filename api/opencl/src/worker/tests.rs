//! Every function's command: made from the spec with random values, checked by the table, taken apart
//! by the dispatch. There is no vendor library behind it, so that what is reached is its absence.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

use proptest::prelude::*;
use weir_runtime::library::Library;
use weir_runtime::objects::{Known, Objects};
use weir_runtime::scratch::Scratch;
use weir_runtime::session::{Session, Wake};
use weir_runtime::turn::{self, Seat};
use weir_spec::Spec;
use weir_spec::expression::{Expression, Leaf};
use weir_spec::model::{Carried, Contents, Function, Param, Role};
use weir_wire::arena::{Arena, DATA_OFFSET, MIN_SIZE};
use weir_wire::channel::{CompletionWriter, Event, Received, VmmEnd, create};
use weir_wire::check::check;
use weir_wire::command::{Encoder, HEADER_SIZE, Header, Place, Reference};
use weir_wire::handle::Handle;

use super::{OpenCl, arguments::Arguments, generated::Vendor, queues::Queues};
use crate::table::API;

struct Nobody;

impl Seat for Nobody {
    fn step_aside(&mut self) {}
}

fn spec() -> &'static Spec {
    // Syntax trees stay on their thread; the process ends with the tests.
    thread_local! {
        static SPEC: &'static Spec =
            Box::leak(Box::new(Spec::read(crate::SPEC).unwrap_or_else(|e| panic!("{e}"))));
    }
    SPEC.with(|spec| *spec)
}

/// OpenCL without a single function, and a client in whose table slot n is an object of kind n.
fn nothing() -> (Arc<dyn Library>, Session, VmmEnd) {
    let this: libloading::Library = libloading::os::unix::Library::this().into();
    // SAFETY: none of the functions is there, so none can have another prototype.
    let vendor = unsafe { Vendor::load(&this) };
    let library = OpenCl {
        vendor,
        chosen: OnceLock::new(),
        queues: Queues::default(),
        arguments: Arguments::default(),
        _library: this,
    };
    let (arena, _file) = Arena::create(MIN_SIZE).unwrap();
    let (vmm, channel) = create().unwrap();
    let event = || rustix::event::eventfd(0, rustix::event::EventfdFlags::CLOEXEC).unwrap();
    let writer = CompletionWriter::open(&channel).unwrap();
    let session = Session::new(arena, writer, event(), Wake::Futex);
    fill(&session.objects);
    (Arc::new(library), session, vmm)
}

fn fill(objects: &Objects) {
    for kind in 0..API.kinds.len() {
        let pointer = std::ptr::without_provenance_mut(0x1000 * (kind + 1));
        let known = Known {
            kept: KEPT,
            ..Known::default()
        };
        objects.bind(existing(kind), kind, pointer, known);
    }
}

/// What is kept with every object.
const KEPT: u64 = 3 << 8 | 4;

fn existing(kind: usize) -> Handle {
    Handle::new(kind as u32, 1)
}

/// Random choices for one command.
#[derive(Clone, Debug)]
struct Choices {
    numbers: Vec<u64>,
    null: u64,
    arena: u64,
}

fn choices() -> impl Strategy<Value = Choices> {
    let number = prop_oneof![0u64..4, 0u64..200, any::<u64>()];
    (
        prop::collection::vec(number, 16),
        any::<u64>(),
        any::<u64>(),
    )
        .prop_map(|(numbers, null, arena)| Choices {
            numbers,
            null,
            arena,
        })
}

/// What a command is made from.
struct Values<'a> {
    function: &'a Function,
    choices: &'a Choices,
    arrays: HashMap<usize, Vec<u8>>,
}

impl Values<'_> {
    fn is_null(&self, index: usize) -> bool {
        self.function.params[index].optional && self.choices.null >> index & 1 == 1
    }

    fn scalar(&self, index: usize) -> u64 {
        let size = match self.function.params[index].resolved {
            weir_spec::model::Type::Int { bytes, .. } => bytes,
            _ => 8,
        };
        self.choices.numbers[index % 16] & (u64::MAX >> (64 - 8 * u32::from(size)))
    }

    /// The unsigned integer at a place of an input; 0 if that is null.
    fn number(&self, index: usize, offset: usize, size: u64) -> Option<i128> {
        if self.is_null(index) {
            return Some(0);
        }
        let bytes = self
            .arrays
            .get(&index)?
            .get(offset..)?
            .get(..size as usize)?;
        let mut value = [0; 16];
        value[..bytes.len()].copy_from_slice(bytes);
        Some(i128::from_le_bytes(value))
    }

    fn evaluate(&self, expression: &Expression) -> Option<u64> {
        let value = expression.evaluate(&mut |leaf| match leaf {
            Leaf::Param(index) => {
                let value = self.scalar(*index);
                Some(match self.function.params[*index].resolved {
                    weir_spec::model::Type::Int {
                        bytes: 4,
                        signed: true,
                    } => i128::from(value as u32 as i32),
                    _ => i128::from(value),
                })
            }
            Leaf::Element(index, element) => {
                let size = spec().element_size(&self.function.params[*index].resolved);
                self.number(*index, *element * size as usize, size)
            }
            Leaf::Field(field) => {
                self.number(field.param, field.offset as usize, field.bytes.into())
            }
            Leaf::IsNull(index) => Some(i128::from(self.is_null(*index))),
            Leaf::Kept(_) => Some(KEPT.into()),
            Leaf::Bytes(_) => Some(0),
            Leaf::Deref(_) | Leaf::Returned | Leaf::Related(_) | Leaf::Argument(_) => None,
        });
        u64::try_from(value?).ok()
    }
}

/// A command of `function`, and whether its lengths are such that it can be sent.
fn command(function: &Function, choices: &Choices) -> Option<Vec<u8>> {
    let mut values = Values {
        function,
        choices,
        arrays: HashMap::new(),
    };
    let mut bytes = Vec::new();
    let header = Header {
        size: 0,
        api: API.id,
        function: function.number,
        lane: 0,
        seq: 1,
    };
    let mut encoder = Encoder::new(&mut bytes, header, function.words);
    let mut slot = 100;
    for (index, param) in function.params.iter().enumerate() {
        encode(&mut encoder, &mut values, &mut slot, (index, param))?;
    }
    if let Some(new) = &function.new {
        encoder.word(new.word, Handle::new(99, 1).0);
    }
    encoder.finish()?;
    Some(bytes)
}

fn encode(
    encoder: &mut Encoder<'_>,
    values: &mut Values<'_>,
    slot: &mut u32,
    (index, param): (usize, &Param),
) -> Option<()> {
    let null = values.is_null(index);
    let word = param.word;
    let element = |param: &Param| spec().element_size(&param.resolved);
    let length = |values: &Values<'_>, len: &Expression, size: u64| {
        values
            .evaluate(len)?
            .checked_mul(size)
            .filter(|n| *n <= 60_000)
    };
    let arena = |len| Reference {
        place: Place::Arena(DATA_OFFSET + values.choices.arena % 1024 * 8),
        len,
    };
    match &param.role {
        Role::Scalar => encoder.word(word, values.scalar(index)),
        Role::Handle(_) | Role::HandleOrBytes { .. } if null => {}
        Role::Handle(kind) => encoder.word(word, existing(*kind).0),
        Role::New(_)
        | Role::Input { .. }
        | Role::Output { .. }
        | Role::NewList { .. }
        | Role::Found { .. }
            if null => {}
        Role::New(_) => {
            *slot += 1;
            encoder.word(word, Handle::new(*slot, 1).0);
        }
        Role::Error => encoder.reference(word, arena(4)),
        Role::Output { len, .. } => {
            encoder.reference(word, arena(length(values, len, element(param))?));
        }
        Role::NewList { len, .. } | Role::Found { len, .. } => {
            let len = length(values, len, 8)?;
            let handles: Vec<u8> = (0..len / 8)
                .flat_map(|n| Handle::new(200 + n as u32, 1).0.to_le_bytes())
                .collect();
            encoder.inline(word, &handles);
            encoder.reference(word + 2, arena(len));
        }
        Role::HandleOrBytes { len, .. } => match values.evaluate(len)? {
            8 => encoder.word(word, existing(4).0),
            len if len <= 4096 => encoder.inline(word + 1, &vec![7; len as usize]),
            _ => return None,
        },
        Role::Input { len, contents } => match contents {
            Contents::String | Contents::Options => encoder.inline(word, b"text\0"),
            Contents::Properties(keys) => {
                let keys = keys
                    .iter()
                    .flat_map(|(key, kind)| [*key, existing(*kind).0]);
                let list = keys.chain([0]).flat_map(u64::to_le_bytes);
                encoder.inline(word, &list.collect::<Vec<u8>>());
            }
            Contents::Handles(kind) => {
                let len = length(values, len.as_ref()?, 8)?;
                let handle = existing(*kind).0.to_le_bytes();
                encoder.inline(word, &handle.repeat(len as usize / 8));
            }
            Contents::Strings { count, .. } => {
                let count = values.evaluate(count).filter(|n| *n <= 500)?;
                let mut bytes = count.to_le_bytes().to_vec();
                bytes.extend(3u64.to_le_bytes().repeat(count as usize));
                bytes.extend(b"abc".repeat(count as usize));
                encoder.inline(word, &bytes);
            }
            Contents::Bulk => {
                let len = length(values, len.as_ref()?, element(param))?;
                encoder.reference(word, arena(len));
            }
            Contents::Plain => {
                let len = length(values, len.as_ref()?, element(param))?;
                let array: Vec<u64> = (0..len / 8)
                    .map(|n| values.choices.numbers[n as usize % 16] % 9)
                    .collect();
                let mut bytes: Vec<u8> = array.iter().flat_map(|n| n.to_le_bytes()).collect();
                bytes.resize(len as usize, 1);
                encoder.inline(word, &bytes);
                values.arrays.insert(index, bytes);
            }
            Contents::Records(structure) => {
                let len = length(values, len.as_ref()?, element(param))? as usize;
                let mut bytes: Vec<u8> = values
                    .choices
                    .numbers
                    .repeat(len / 128 + 1)
                    .iter()
                    .flat_map(|n| (n % 9).to_le_bytes())
                    .collect();
                bytes.truncate(len);
                let structure = &spec().structs[*structure];
                for record in bytes.chunks_exact_mut(structure.size as usize) {
                    for (offset, kind) in structure.handles() {
                        let handle = match values.choices.arena & 1 {
                            0 => Handle::NULL,
                            _ => existing(kind),
                        };
                        record[offset as usize..][..8].copy_from_slice(&handle.0.to_le_bytes());
                    }
                }
                encoder.inline(word, &bytes);
                values.arrays.insert(index, bytes);
            }
        },
        Role::Lengths | Role::Callback(_) | Role::UserData | Role::GuestOnly { .. } => {}
    }
    Some(())
}

/// The error that making this command ends with.
fn made(bytes: &[u8]) -> i32 {
    let (library, session, mut vmm) = nothing();
    let mut scratch = Scratch::default();
    let received = Received {
        id: 1,
        gated: false,
    };
    turn::run(
        &session,
        &library,
        received,
        bytes,
        &mut scratch,
        &mut Nobody,
    );
    match vmm.next_completion().unwrap().unwrap().event {
        Event::Called { error, .. } => error,
        other => panic!("{other:?}"),
    }
}

fn carried() -> Vec<&'static Function> {
    let is_command = |f: &&Function| matches!(f.carried, Carried::Command { .. });
    spec().functions.iter().filter(is_command).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// What the spec calls a length is what the table asks for, and the dispatch gets as far as the
    /// vendor's function.
    #[test]
    fn commands_made_from_the_spec_are_taken_apart(choices in choices()) {
        for function in carried() {
            let Some(bytes) = command(function, &choices) else { continue };
            let checked = check(&API, &bytes, MIN_SIZE, &|_| Some(KEPT));
            prop_assert!(checked.is_ok(), "{}: {:?}", function.name, checked.err());
            let error = made(&bytes);
            // Calls that need no vendor, or look at what they were given first, may say other things.
            let expected = [
                crate::table::API.errors.unsupported as i32,
                crate::table::constants::CL_SUCCESS,
                crate::table::constants::CL_INVALID_VALUE,
                crate::table::constants::CL_INVALID_PLATFORM,
            ];
            prop_assert!(expected.contains(&error), "{}: {error}", function.name);
        }
    }

    /// One word changed: refused, or taken apart all the same. Never a panic.
    #[test]
    fn changed_commands_do_no_harm(choices in choices(), which: usize, word: usize, value: u64) {
        let functions = carried();
        let function = functions[which % functions.len()];
        if let Some(mut bytes) = command(function, &choices) {
            let at = HEADER_SIZE + word % function.words.max(1) * 8;
            if at + 8 <= bytes.len() {
                bytes[at..at + 8].copy_from_slice(&value.to_le_bytes());
            }
            made(&bytes);
        }
    }

    /// Nor do random bytes.
    #[test]
    fn random_bytes_do_no_harm(mut bytes in prop::collection::vec(any::<u8>(), 16..400), number: u16) {
        bytes.truncate(bytes.len() / 8 * 8);
        let size = (bytes.len() as u32).to_le_bytes();
        bytes[..4].copy_from_slice(&size);
        bytes[4..6].copy_from_slice(&API.id.to_le_bytes());
        bytes[6..8].copy_from_slice(&(number % API.functions.len() as u16).to_le_bytes());
        bytes[8..12].copy_from_slice(&[0; 4]);
        made(&bytes);
    }
}

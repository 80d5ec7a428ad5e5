//! Arguments that fit a function, and what they must have become at the vendor's.
//!
//! Every way in which a parameter can travel is dealt with here by name: a new one does not compile
//! before somebody has said what it means.

use std::collections::{HashMap, HashSet};

use weir_guest::connection::Connection;
use weir_guest::objects::Object;
use weir_runtime::objects::Known;
use weir_runtime::session::Session;
use weir_spec::Spec;
use weir_spec::expression::{Expression, Leaf};
use weir_spec::model::{Answer, Answers, Contents, Failure, Function, New, Param, Role, Type};

use crate::source::Source;

/// Most bytes of one argument.
const MOST: u64 = 20_000;
/// Most elements of a list.
const MOST_LISTED: u64 = 60;
/// What is kept with every object.
pub const KEPT: u64 = 3 << 8 | 4;
/// What memory holds that nobody has written.
const UNTOUCHED: u8 = 0xee;

/// Whether answers of `function` may be kept.
pub fn is_cached(function: &Function) -> bool {
    !matches!(function.cached, weir_spec::model::Condition::Never)
}

/// What the vendor must see in place of one argument, and what it does with it.
#[derive(Clone, Debug)]
pub enum Seen {
    /// These bits.
    Bits(u64),
    /// A pointer to these bytes.
    Bytes(Vec<u8>),
    /// A pointer to pointers to these.
    Strings(Vec<Vec<u8>>),
    /// Room for these bytes, which it writes.
    Room(Vec<u8>),
    /// Where this pointer goes; null only where the flag says so.
    Pointer(u64, bool),
    /// Whatever it is.
    Anything,
}

/// What the guest must have afterwards.
#[derive(Debug)]
pub enum After {
    /// These bytes at this address.
    Bytes(u64, Vec<u8>),
    /// At this address what names an object of this kind that stands for this pointer.
    Object(u64, usize, u64),
}

/// A call.
#[derive(Debug, Default)]
pub struct Call {
    /// Arguments for the encoder.
    pub arguments: Vec<u64>,
    /// What the vendor sees.
    pub seen: Vec<Seen>,
    /// What the vendor returns.
    pub returns: u64,
    /// What must be afterwards.
    pub after: Vec<After>,
    /// Objects that exist for this call only.
    pub used: Vec<&'static Object>,
    memory: Vec<Vec<u64>>,
}

impl Call {
    /// Bytes that stay where they are as long as the call; the address is aligned to 8.
    fn place(&mut self, bytes: &[u8]) -> u64 {
        let mut words = vec![0u64; bytes.len() / 8 + 1];
        let at = words.as_mut_ptr();
        // SAFETY: the words have at least as many bytes.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), at.cast(), bytes.len()) };
        self.memory.push(words);
        at.expose_provenance() as u64
    }

    /// Lets what was placed stay for ever: transfers may go on.
    pub fn leak(&mut self) {
        self.memory.drain(..).for_each(|words| {
            words.leak();
        });
    }
}

/// Makes calls of one function.
pub struct Maker<'a, 'b> {
    /// The spec.
    pub spec: &'static Spec,
    /// The function.
    pub function: &'static Function,
    /// The guest's side.
    pub weir: &'static Connection,
    /// The worker's side.
    pub session: &'a Session,
    /// Where choices come from.
    pub source: &'a mut Source<'b>,
    call: Call,
    scalars: HashMap<usize, u64>,
    nulls: HashSet<usize>,
    arrays: HashMap<usize, Vec<u8>>,
    /// Numbers that outputs come to.
    written: HashMap<usize, u64>,
    next: u64,
}

impl<'a, 'b> Maker<'a, 'b> {
    /// For `function` of `spec`.
    pub fn new(
        spec: &'static Spec,
        function: &'static Function,
        weir: &'static Connection,
        session: &'a Session,
        source: &'a mut Source<'b>,
    ) -> Self {
        Maker {
            spec,
            function,
            weir,
            session,
            source,
            call: Call::default(),
            scalars: HashMap::new(),
            nulls: HashSet::new(),
            arrays: HashMap::new(),
            written: HashMap::new(),
            next: 0,
        }
    }

    /// A call; `None` if these choices ask for more than can be sent.
    pub fn make(mut self) -> Option<Call> {
        let params = &self.function.params;
        for (index, param) in params.iter().enumerate() {
            if let Role::Scalar = param.role {
                let bits = self.source.number() & mask(&param.resolved);
                self.scalars.insert(index, bits);
            }
            if param.optional && self.source.one_in(3) {
                self.nulls.insert(index);
            }
        }
        for param in params {
            // The encoder asks for no more than can be found.
            if let Role::Found { len, .. } | Role::NewList { len, .. } = &param.role
                && let Expression::Leaf(Leaf::Param(index)) = len
                && let Some(count) = self.scalars.get_mut(index)
            {
                *count = (*count).min(weir_guest::call::MAX_FOUND);
            }
        }
        self.tighten_scalars();
        self.arrays();
        self.tighten_arrays();
        self.returns();
        for (index, param) in params.iter().enumerate() {
            if let Role::Output { .. } = param.role {
                self.number_written(index)?;
            }
        }
        for (index, param) in params.iter().enumerate() {
            let (argument, seen) = self.param(index)?;
            let is_encoded = !matches!(
                param.role,
                Role::Callback(_) | Role::UserData | Role::GuestOnly { .. } | Role::Error
            );
            if is_encoded {
                self.call.arguments.push(argument);
            }
            if !param.extra {
                self.call.seen.push(seen);
            }
        }
        // What has no value is refused before it is sent.
        for computed in self.function.holds.iter().chain(&self.function.keeps) {
            u64::try_from(self.evaluate(computed)?).ok()?;
        }
        self.tighten_seen()?;
        Some(self.call)
    }

    /// Pitches and origins of shaped data: nothing lies between rows here.
    fn tighten_scalars(&mut self) {
        for shape in self.function.params.iter().filter_map(|p| p.shape.as_ref()) {
            for pitch in &shape.pitches {
                if let Expression::Leaf(Leaf::Param(index)) = pitch {
                    self.scalars.insert(*index, 0);
                }
            }
        }
    }

    fn tighten_arrays(&mut self) {
        for shape in self.function.params.iter().filter_map(|p| p.shape.as_ref()) {
            for pitch in &shape.pitches {
                if let Expression::Leaf(Leaf::Field(field)) = pitch
                    && let Some(array) = self.arrays.get_mut(&field.param)
                {
                    array[field.offset as usize..][..field.bytes.into()].fill(0);
                }
            }
            if let Some(array) = shape.origin.and_then(|index| self.arrays.get_mut(&index)) {
                array.fill(0);
            }
        }
    }

    /// The vendor is told what the pitches are then.
    fn tighten_seen(&mut self) -> Option<()> {
        let function = self.function;
        for (index, param) in function.params.iter().enumerate() {
            let Some(shape) = param.shape.as_ref().filter(|_| !self.is_null(index)) else {
                continue;
            };
            if let Some(origin) = shape.origin {
                *self.seen_of(origin) = Seen::Bytes(vec![0; 24]);
            }
            for (pitch, tight) in shape.pitches.iter().zip(shape.tight()) {
                let tight = u64::try_from(self.evaluate(&tight)?).ok()?;
                match pitch {
                    Expression::Leaf(Leaf::Param(index)) => {
                        let bits = tight & mask(&function.params[*index].resolved);
                        *self.seen_of(*index) = Seen::Bits(bits);
                    }
                    Expression::Leaf(Leaf::Field(field)) => {
                        let (at, len) = (field.offset as usize, usize::from(field.bytes));
                        if let Seen::Bytes(bytes) = self.seen_of(field.param) {
                            bytes[at..at + len].copy_from_slice(&tight.to_le_bytes()[..len]);
                        }
                    }
                    _ => {}
                }
            }
        }
        Some(())
    }

    fn seen_of(&mut self, index: usize) -> &mut Seen {
        let before = self.function.params[..index].iter();
        &mut self.call.seen[before.filter(|param| !param.extra).count()]
    }

    /// Arrays of plain numbers first: others' lengths may depend on them.
    fn arrays(&mut self) {
        for _ in 0..2 {
            for (index, param) in self.function.params.iter().enumerate() {
                if let Role::Input {
                    len: Some(len),
                    contents: Contents::Plain | Contents::Records(_),
                } = &param.role
                    && !self.nulls.contains(&index)
                    && !self.arrays.contains_key(&index)
                    && let Some(bytes) = self.bytes(index, len)
                {
                    let array = (0..bytes.div_ceil(8))
                        .flat_map(|_| self.source.below(9).to_le_bytes())
                        .take(bytes as usize);
                    let array = array.collect();
                    self.arrays.insert(index, array);
                }
            }
        }
    }

    fn returns(&mut self) {
        self.call.returns = match (self.function.new, &self.function.failure) {
            (Some(_), _) => self.pointer(),
            (None, Failure::Beside { .. }) => {
                let number = match is_cached(self.function) {
                    true => 7, // what is kept must be the answer to another call as well
                    false => self.source.number(),
                };
                number & mask(&self.function.return_type)
            }
            _ => 0,
        };
    }

    /// A pointer of the vendor's.
    fn pointer(&mut self) -> u64 {
        self.next += 1;
        0x10_0000 * self.next + u64::from(self.function.number) * 0x1000
    }

    /// The number that an output of a few bytes comes to.
    fn number_written(&mut self, index: usize) -> Option<()> {
        let Role::Output { len, .. } = &self.function.params[index].role else {
            return Some(());
        };
        let bytes = match self.is_null(index) && !self.is_needed(index) {
            true => 0,
            false => self.bytes(index, len)?,
        };
        let number = match bytes {
            0..=8 if is_cached(self.function) => 13 * index as u64 + 5,
            0..=8 => self.source.below(300) & ((1u64 << (8 * bytes.min(7))) - 1),
            _ => u64::from_le_bytes(pattern(index, 8).try_into().ok()?),
        };
        self.written.insert(index, number);
        Some(())
    }

    fn is_null(&self, index: usize) -> bool {
        self.nulls.contains(&index)
    }

    /// Whether another output's length is read from this one, whether the program wants it or not.
    fn is_needed(&self, index: usize) -> bool {
        let params = self.function.params.iter().enumerate();
        params.into_iter().any(|(other, param)| match &param.role {
            Role::Output {
                written: Some(written),
                ..
            } => {
                let leaves = written.leaves();
                leaves.contains(&&Leaf::Deref(index))
                    && !leaves.contains(&&Leaf::IsNull(index))
                    && !self.is_null(other)
            }
            _ => false,
        })
    }

    /// Argument and what the vendor sees of a parameter.
    fn param(&mut self, index: usize) -> Option<(u64, Seen)> {
        let function = self.function;
        let param = &function.params[index];
        // By name, so that nobody adds something that is not thought of here.
        let Param {
            name: _,
            ty: _,
            resolved: _,
            role: _,
            optional: _,
            invalid: _,
            extra: _,
            shape: _,
            passed_as,
            lent: _,
            word: _,
        } = param;
        let null = self.is_null(index);
        let plain = |argument, seen| Some((argument, seen));
        match &param.role {
            Role::Scalar => {
                let seen = match passed_as {
                    None => self.scalars[&index],
                    Some(passed) => self.evaluate(passed)? as u64 & mask(&param.resolved),
                };
                plain(self.scalars[&index], Seen::Bits(seen))
            }
            Role::Handle(_) if null => plain(0, Seen::Bits(0)),
            Role::Handle(kind) => {
                let (object, pointer) = self.object(*kind)?;
                plain(address(object), Seen::Bits(pointer))
            }
            Role::Input { .. } if null => plain(0, Seen::Bits(0)),
            Role::Input { len, contents } => {
                let (argument, seen) = self.input(index, len.as_ref(), contents)?;
                plain(argument, seen)
            }
            Role::Output {
                len,
                written,
                bulk,
                answers,
            } => {
                let (argument, seen) =
                    self.output(index, len, written.as_ref(), *bulk, answers.as_ref())?;
                plain(argument, seen)
            }
            Role::Error => plain(0, Seen::Room(vec![0; 4])),
            Role::New(new) => {
                let (argument, seen) = self.new_object(new, null);
                plain(argument, seen)
            }
            Role::NewList { .. } if null => plain(0, Seen::Bits(0)),
            Role::NewList { new, len } => {
                let bytes = self.bytes(index, len)?;
                let count = Some(bytes / 8).filter(|count| *count <= MOST_LISTED)?;
                let at = self.call.place(&vec![0; bytes as usize]);
                let mut made = Vec::new();
                for n in 0..count {
                    let pointer = self.pointer();
                    let after = After::Object(at + 8 * n, new.kind, pointer);
                    self.call.after.push(after);
                    made.extend_from_slice(&pointer.to_le_bytes());
                }
                plain(at, Seen::Room(made))
            }
            Role::Found { len, .. } => {
                let bytes = self
                    .bytes(index, len)
                    .filter(|bytes| *bytes <= 8 * MOST_LISTED)?;
                let at = match null {
                    true => 0,
                    false => self.call.place(&vec![0; bytes as usize]),
                };
                plain(at, Seen::Anything)
            }
            Role::HandleOrBytes { len, kinds } => {
                let bytes = self.evaluate(len)?;
                let bytes = u64::try_from(bytes).ok().filter(|bytes| *bytes <= MOST)?;
                if bytes == 8 && self.source.one_in(2) && !kinds.is_empty() {
                    let kind = kinds[self.source.below(kinds.len() as u64) as usize];
                    let (object, pointer) = self.object(kind)?;
                    let seen = Seen::Bytes(pointer.to_le_bytes().to_vec());
                    let at = self.call.place(&address(object).to_le_bytes());
                    return plain(at, seen);
                }
                let data = pattern(index, bytes);
                plain(self.call.place(&data), Seen::Bytes(data))
            }
            // Made with the strings that they belong to, which come before or after.
            Role::Lengths => {
                let (argument, seen) = self.lengths(index)?;
                plain(argument, seen)
            }
            Role::Callback(_) | Role::UserData => plain(0, Seen::Anything),
            Role::GuestOnly { len: None } => plain(0, Seen::Bits(0)),
            Role::GuestOnly { len: Some(len) } => {
                let bytes = self.bytes(index, len)?;
                plain(0, Seen::Bytes(vec![0; bytes as usize]))
            }
        }
    }

    /// A new object for this call, and the vendor's pointer to it.
    fn object(&mut self, kind: usize) -> Option<(&'static Object, u64)> {
        let object = self.weir.objects.propose(kind, std::ptr::null(), None)?;
        object.keep(KEPT);
        let pointer = 0x7000_0000_0000 | u64::from(object.handle().slot()) << 12;
        let known = Known {
            kept: KEPT,
            ..Known::default()
        };
        let at = std::ptr::without_provenance_mut(pointer as usize);
        self.session.objects.bind(object.handle(), kind, at, known);
        self.call.used.push(object);
        Some((object, pointer))
    }

    fn input(
        &mut self,
        index: usize,
        len: Option<&Expression>,
        contents: &Contents,
    ) -> Option<(u64, Seen)> {
        let (given, seen) = match contents {
            Contents::Plain => {
                let bytes = self.arrays.get(&index)?.clone();
                (bytes.clone(), bytes)
            }
            Contents::Bulk => {
                let bytes = pattern(index, self.bytes(index, len?)?);
                (bytes.clone(), bytes)
            }
            Contents::String | Contents::Options => {
                let mut text = pattern(index, self.source.below(200));
                text.iter_mut().for_each(|byte| *byte = *byte % 26 + b'a');
                text.push(0);
                (text.clone(), text)
            }
            Contents::Records(structure) => {
                let mut given = self.arrays.get(&index)?.clone();
                let mut seen = given.clone();
                let structure = &self.spec.structs[*structure];
                let size = structure.size as usize;
                for record in 0..given.len() / size {
                    for (offset, kind) in structure.handles() {
                        let (address, pointer) = match self.source.one_in(3) {
                            true => (0, 0),
                            false => {
                                let (object, pointer) = self.object(kind)?;
                                (address(object), pointer)
                            }
                        };
                        let at = record * size + offset as usize;
                        given[at..at + 8].copy_from_slice(&address.to_le_bytes());
                        seen[at..at + 8].copy_from_slice(&pointer.to_le_bytes());
                    }
                }
                (given, seen)
            }
            Contents::Handles(kind) => {
                let count = self.bytes(index, len?)? / 8;
                let objects: Vec<_> = (0..Some(count).filter(|n| *n <= MOST_LISTED)?)
                    .map(|_| self.object(*kind))
                    .collect::<Option<_>>()?;
                let given = objects.iter().flat_map(|(o, _)| address(o).to_le_bytes());
                let seen = objects.iter().flat_map(|(_, p)| p.to_le_bytes());
                (given.collect(), seen.collect())
            }
            Contents::Properties(keys) => {
                let (mut given, mut seen) = (Vec::new(), Vec::new());
                for _ in 0..self.source.below(5) {
                    let choice = self.source.below(keys.len() as u64 + 1) as usize;
                    let (key, values) = match keys.get(choice) {
                        Some((key, kind)) => {
                            let (object, pointer) = self.object(*kind)?;
                            (*key, (address(object), pointer))
                        }
                        None => {
                            let value = self.source.word();
                            (0x7fff_0000 + self.source.below(100), (value, value))
                        }
                    };
                    given.extend([key, values.0]);
                    seen.extend([key, values.1]);
                }
                let bytes = |words: Vec<u64>| {
                    let ended = words.into_iter().chain([0]);
                    ended.flat_map(u64::to_le_bytes).collect::<Vec<u8>>()
                };
                (bytes(given), bytes(seen))
            }
            Contents::Strings { count, .. } => {
                let count = u64::try_from(self.evaluate(count)?).ok();
                let strings = self.strings(index, count.filter(|n| *n <= MOST_LISTED)?);
                let ended = strings.iter().map(|text| [text, &b"\0"[..]].concat());
                let ended: Vec<Vec<u8>> = ended.collect();
                let at = ended.iter().map(|text| self.call.place(text));
                let at: Vec<u8> = at.flat_map(u64::to_le_bytes).collect();
                return Some((self.call.place(&at), Seen::Strings(strings)));
            }
        };
        Some((self.call.place(&given), Seen::Bytes(seen)))
    }

    /// The strings of a list: the same each time.
    fn strings(&self, index: usize, count: u64) -> Vec<Vec<u8>> {
        let text = |n| {
            let mut text = pattern(index, 1 + n * 7 % 40);
            text.iter_mut().for_each(|byte| *byte = *byte % 26 + b'a');
            text
        };
        (0..count).map(text).collect()
    }

    /// The lengths of strings: the parameter `index` is what the strings of another say it is.
    fn lengths(&mut self, index: usize) -> Option<(u64, Seen)> {
        let of = self.function.params.iter().position(|param| {
            matches!(&param.role, Role::Input { contents: Contents::Strings { lengths, .. }, .. }
                if *lengths == Some(index))
        })?;
        let Role::Input {
            contents: Contents::Strings { count, .. },
            ..
        } = &self.function.params[of].role
        else {
            return None;
        };
        if self.is_null(of) {
            return Some((0, Seen::Bits(0)));
        }
        let count = u64::try_from(self.evaluate(count)?).ok();
        let strings = self.strings(of, count.filter(|n| *n <= MOST_LISTED)?);
        let lengths = strings.iter().map(|text| text.len() as u64);
        let lengths: Vec<u8> = lengths.flat_map(u64::to_le_bytes).collect();
        let at = match self.is_null(index) {
            true => 0,
            false => self.call.place(&lengths),
        };
        Some((at, Seen::Bytes(lengths)))
    }

    fn output(
        &mut self,
        index: usize,
        len: &Expression,
        written: Option<&Expression>,
        bulk: bool,
        answers: Option<&Answers>,
    ) -> Option<(u64, Seen)> {
        let null = self.is_null(index);
        if null && !self.is_needed(index) {
            return Some((0, Seen::Bits(0)));
        }
        let bytes = self.bytes(index, len)?;
        let mut pattern = pattern(index, bytes);
        if bytes <= 8 {
            pattern.copy_from_slice(&self.written[&index].to_le_bytes()[..bytes as usize]);
        }
        if null {
            return Some((0, Seen::Room(pattern)));
        }
        let at = self.call.place(&vec![UNTOUCHED; bytes as usize]);
        let limit = match written {
            None => bytes,
            Some(written) => {
                let limit = self.evaluate(written).unwrap_or(0);
                u64::try_from(limit).unwrap_or(0).min(bytes)
            }
        } as usize;
        let mut wanted = pattern.clone();
        wanted[limit..].fill(UNTOUCHED);
        let query = answers.map(|answers| (self.scalars.get(&answers.query), &answers.cases));
        if let Some((Some(query), cases)) = query
            && let Some((_, answer)) = cases.iter().find(|(key, _)| key == query)
        {
            // Only whole words are an answer then, and of the vendor's pointers none is known.
            wanted[limit / 8 * 8..].fill(UNTOUCHED);
            if let Answer::Handles(_) = answer {
                wanted[..limit / 8 * 8].fill(0);
            }
        }
        let is_late = bulk && self.function.done.is_some();
        if !is_late {
            self.call.after.push(After::Bytes(at, wanted));
        }
        Some((at, Seen::Room(pattern)))
    }

    fn new_object(&mut self, new: &New, null: bool) -> (u64, Seen) {
        let pointer = self.pointer();
        if null {
            return (0, Seen::Pointer(pointer, true));
        }
        let at = self.call.place(&[0; 8]);
        let after = After::Object(at, new.kind, pointer);
        self.call.after.push(after);
        (at, Seen::Pointer(pointer, false))
    }

    /// Bytes of as many elements of what a parameter points to as `len` says, if that is not too many.
    fn bytes(&self, index: usize, len: &Expression) -> Option<u64> {
        let size = self
            .spec
            .element_size(&self.function.params[index].resolved);
        let count = u64::try_from(self.evaluate(len)?).ok()?;
        count.checked_mul(size).filter(|bytes| *bytes <= MOST)
    }

    fn evaluate(&self, expression: &Expression) -> Option<i128> {
        let params = &self.function.params;
        expression.evaluate(&mut |leaf| match leaf {
            Leaf::Param(index) => Some(value(self.scalars[index], &params[*index].resolved)),
            Leaf::Element(index, element) => {
                let Type::Pointer { to, .. } = &params[*index].resolved else {
                    return None;
                };
                let size = self.spec.element_size(&params[*index].resolved) as usize;
                self.number(*index, element * size, size)
                    .map(|bits| value(bits, to))
            }
            Leaf::Field(field) => {
                let bytes = field.bytes;
                let ty = Type::Int {
                    bytes,
                    signed: field.signed,
                };
                let bits = self.number(field.param, field.offset as usize, bytes.into());
                bits.map(|bits| value(bits, &ty))
            }
            Leaf::IsNull(index) => Some(i128::from(self.is_null(*index))),
            Leaf::Kept(index) if self.is_null(*index) => None,
            Leaf::Kept(_) => Some(KEPT.into()),
            Leaf::Deref(index) => self.written.get(index).map(|number| i128::from(*number)),
            Leaf::Returned => Some(value(self.call.returns, &self.function.return_type)),
            // (Only what an object holds depends on it, and that is not looked at.)
            Leaf::Bytes(_) => Some(0),
            Leaf::Related(_) | Leaf::Argument(_) => None,
        })
    }

    fn number(&self, index: usize, at: usize, size: usize) -> Option<u64> {
        if self.is_null(index) {
            return Some(0);
        }
        let bytes = self.arrays.get(&index)?.get(at..at + size)?;
        let mut number = [0; 8];
        number[..size].copy_from_slice(bytes);
        Some(u64::from_le_bytes(number))
    }
}

/// Whether the answer to a call of `function` is there when its encoder returns.
pub fn waits(function: &Function) -> bool {
    !function.may_be_queued()
}

/// The bits of a type.
fn mask(ty: &Type) -> u64 {
    match ty {
        Type::Int { bytes, .. } | Type::Float(bytes) => u64::MAX >> (64 - 8 * u32::from(*bytes)),
        _ => u64::MAX,
    }
}

/// The value that the bits of an integer type are.
pub fn value(bits: u64, ty: &Type) -> i128 {
    let unused = 64 - mask(ty).count_ones();
    match ty {
        Type::Int { signed: true, .. } => i128::from((bits << unused).cast_signed() >> unused),
        _ => i128::from(bits << unused >> unused),
    }
}

/// `len` bytes that tell which argument they are of.
fn pattern(index: usize, len: u64) -> Vec<u8> {
    (0..len)
        .map(|at| (at * 7 + at / 251 + 31 * index as u64) as u8)
        .collect()
}

fn address(object: &Object) -> u64 {
    object.address().expose_provenance() as u64
}

/// Compares what the vendor sees, and does what it does with outputs.
///
/// # Errors
/// The first argument that is another.
pub fn compare(expected: &[Seen], arguments: &[u64]) -> Result<(), String> {
    if expected.len() != arguments.len() {
        return Err(format!(
            "{} arguments instead of {}",
            arguments.len(),
            expected.len()
        ));
    }
    for (index, (wanted, got)) in expected.iter().zip(arguments).enumerate() {
        compare_one(wanted, *got).map_err(|what| format!("argument {index}: {what}"))?;
    }
    Ok(())
}

fn compare_one(wanted: &Seen, got: u64) -> Result<(), String> {
    let pointer = std::ptr::with_exposed_provenance_mut::<u8>(got as usize);
    // SAFETY (of its uses): the dispatch says that the pointer is good for so many bytes.
    let read = |len: usize| match len {
        0 => Vec::new(),
        // SAFETY: as above.
        _ => unsafe { std::slice::from_raw_parts(pointer, len) }.to_vec(),
    };
    match wanted {
        Seen::Anything => {}
        Seen::Bits(bits) if *bits == got => {}
        Seen::Bits(bits) => return Err(format!("{got:#x} instead of {bits:#x}")),
        Seen::Pointer(_, true) if got == 0 => {}
        _ if got == 0 => return Err(format!("null instead of {wanted:?}")),
        Seen::Bytes(bytes) => {
            let there = read(bytes.len());
            if there != *bytes {
                return Err(format!("{there:?} instead of {bytes:?}"));
            }
        }
        Seen::Strings(strings) => {
            let at = read(8 * strings.len());
            for (text, at) in strings.iter().zip(at.as_chunks::<8>().0) {
                compare_one(&Seen::Bytes(text.clone()), u64::from_le_bytes(*at))?;
            }
        }
        Seen::Room(bytes) => {
            // SAFETY: as above.
            unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), pointer, bytes.len()) };
        }
        Seen::Pointer(value, _) => {
            // SAFETY: as above.
            unsafe { pointer.cast::<u64>().write_unaligned(*value) };
        }
    }
    Ok(())
}

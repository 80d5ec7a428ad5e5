//! Encoders: the functions that make, send and answer one command each.

use proc_macro2::TokenStream;
use quote::{format_ident, quote};
use syn::Ident;

use super::{by_hand, encoded_params, ident, integer};
use crate::Spec;
use crate::expression::{Expression, Leaf, integer_type};
use crate::generate::table::handles_in;
use crate::model::{
    Answer, Answers, Condition, Contents, Failure, Function, New, Param, Role, Type,
};

/// Makes the encoder of one function.
pub(super) struct Encoder<'a> {
    pub(super) spec: &'a Spec,
    pub(super) function: &'a Function,
}

impl Encoder<'_> {
    pub(super) fn generate(&self) -> TokenStream {
        let function = self.function;
        let name = ident(&function.name);
        let signature = encoded_params(function).map(|param| self.parameter(param));
        let waits = by_hand(function) && function.may_be_queued();
        let wait = waits.then(|| quote!(, wait: bool));
        let (number, words) = (function.number, function.words);
        // Objects first: expressions may ask what is kept with them.
        let (handles, others): (Vec<_>, Vec<_>) = function
            .params
            .iter()
            .enumerate()
            .partition(|(_, param)| matches!(param.role, Role::Handle(_)));
        let clamps = function.params.iter().filter_map(|param| self.clamp(param));
        let puts = handles
            .into_iter()
            .chain(others)
            .map(|(index, param)| self.put(index, param));
        let new = function.new.map(|new| {
            let put = self.propose(new);
            quote!(let made = #put;)
        });
        let keeps = self.keeps();
        let includes = self.includes();
        let beside = match function.failure {
            Failure::Beside { word, .. } => quote!(let beside = call.output(#word, 4, true);),
            _ => quote!(),
        };
        let settings = self.settings();
        let send = self.send(wait.is_some());
        let gets = function
            .params
            .iter()
            .enumerate()
            .map(|(index, param)| self.get(index, param));
        let lends = self.lends();
        let counts = self.counts();
        let (result, value) = match (&function.new, function.failure) {
            (Some(_), _) => (quote!(*mut c_void), quote!(made.address())),
            (None, Failure::Beside { .. }) => match (&function.returns, &function.return_type) {
                (Some(ty), Type::Float(4)) => {
                    (quote!(#ty), quote!(f32::from_bits(reply.value as u32)))
                }
                (Some(ty), Type::Float(_)) => (quote!(#ty), quote!(f64::from_bits(reply.value))),
                (Some(ty), _) => (quote!(#ty), quote!(reply.value as #ty)),
                (None, _) => (quote!(()), quote!(())),
            },
            _ => (quote!(()), quote!(())),
        };
        quote! {
            pub unsafe fn #name(#(#signature),* #wait) -> Result<#result, Code> {
                #(#clamps)*
                let mut call = Call::new(&LIBRARY, #number, #words)?;
                #(#puts)*
                #new
                #keeps
                #includes
                #beside
                #lends
                #settings
                #send
                #(#gets)*
                #counts
                Ok(#value)
            }
        }
    }

    fn parameter(&self, param: &Param) -> TokenStream {
        let (name, ty) = (ident(&param.name), &param.ty);
        match &param.role {
            role if is_bulk(role) && by_hand(self.function) => quote!(#name: Bulk),
            _ => quote!(#name: #ty),
        }
    }

    /// A call finds no more objects than can travel: asked for more, it asks for fewer.
    fn clamp(&self, param: &Param) -> Option<TokenStream> {
        let (Role::Found { len, .. } | Role::NewList { len, .. }) = &param.role else {
            return None;
        };
        let Expression::Leaf(Leaf::Param(count)) = len else {
            return None;
        };
        let count = ident(&self.function.params[*count].name);
        Some(quote!(let #count = #count.min(weir_guest::call::MAX_FOUND as _);))
    }

    /// Puts a parameter into the command.
    fn put(&self, index: usize, param: &Param) -> TokenStream {
        let (name, word, optional) = (ident(&param.name), param.word, param.optional);
        match &param.role {
            Role::Scalar => {
                let value = scalar(&name, &param.resolved);
                quote!(call.word(#word, #value);)
            }
            Role::Handle(kind) => {
                let object = object(&param.name);
                let put = quote!(call.object(#word, #name, #kind, #optional));
                let put = self.or_invalid(param, *kind, put);
                quote!(let #object = #put?;)
            }
            Role::Input { len, contents } => self.put_input(index, param, len.as_ref(), contents),
            Role::Output {
                len, bulk: true, ..
            } => {
                let len = self.length(len, &name, param);
                let bulk = self.bulk(param);
                quote! {
                    let len = #len;
                    let bulk = #bulk;
                    unsafe { call.bulk_output(#word, bulk, len, #optional)? };
                }
            }
            Role::Output { len, .. } => {
                let bytes = self.bytes(len, param);
                let output = output(&param.name);
                let required = self.required(param);
                let wanted = self.wanted(index, &name);
                quote! {
                    #required
                    let wanted = #wanted;
                    let len = if wanted { #bytes } else { 0 };
                    let #output = call.output(#word, len, wanted);
                }
            }
            Role::Error => {
                let output = output(&param.name);
                quote!(let #output = call.output(#word, 4, true);)
            }
            Role::New(new) => {
                let object = object(&param.name);
                let required = self.required(param);
                let propose = self.propose(*new);
                quote! {
                    #required
                    let #object = if #name.is_null() { None } else { Some(#propose) };
                }
            }
            Role::NewList { new, len } => {
                let output = output(&param.name);
                let required = self.required(param);
                let len = self.length(len, &name, param);
                let (kind, parent) = (new.kind, self.parent(*new));
                quote! {
                    #required
                    let #output = if #name.is_null() {
                        None
                    } else {
                        Some(call.new_objects(#word, #kind, #len / 8, #parent)?)
                    };
                }
            }
            Role::Found { kind, len } => {
                let output = output(&param.name);
                let required = self.required(param);
                let len = self.length(len, &name, param);
                quote! {
                    #required
                    let #output = if #name.is_null() {
                        None
                    } else {
                        Some(call.new_objects(#word, #kind, #len / 8, None)?)
                    };
                }
            }
            Role::HandleOrBytes { len, kinds } => {
                let len = self.length(len, &name, param);
                let object = object(&param.name);
                quote! {
                    let len = #len;
                    let #object = unsafe {
                        call.handle_or_bytes(#word, #name.cast(), len, &[#(#kinds),*])?
                    };
                }
            }
            Role::Lengths | Role::Callback(_) | Role::UserData | Role::GuestOnly { .. } => quote!(),
        }
    }

    fn put_input(
        &self,
        index: usize,
        param: &Param,
        len: Option<&Expression>,
        contents: &Contents,
    ) -> TokenStream {
        let (name, word, optional) = (ident(&param.name), param.word, param.optional);
        let len = len.map(|len| self.length(len, &name, param));
        let put = match contents {
            Contents::Plain if self.is_indexed(index) => {
                quote!(call.input_inline(#word, #name.cast(), len, #optional)?)
            }
            Contents::Plain => quote!(call.input(#word, #name.cast(), len, #optional)?),
            Contents::Bulk => {
                let bulk = self.bulk(param);
                return quote! {
                    let len = #len;
                    let bulk = #bulk;
                    unsafe { call.bulk_input(#word, bulk, len, #optional)? };
                };
            }
            Contents::Records(structure) => {
                let size = self.spec.structs[*structure].size as usize;
                let handles = handles_in(self.spec, *structure);
                quote!(call.records(#word, #name.cast(), len, #size, &[#(#handles),*], #optional)?)
            }
            Contents::String => quote!(call.string(#word, #name.cast(), #optional)?),
            Contents::Options => {
                let adds = self.function.params.iter().enumerate();
                let adds = adds.filter(|(_, p)| names_objects(p));
                let adds = adds.map(|(index, _)| self.add_relative(index));
                return quote! {
                    let mut family = call.includes();
                    #(#adds)*
                    unsafe { call.options(#word, #name.cast(), family, #optional)? };
                };
            }
            Contents::Handles(kind) => {
                let put = quote!(call.objects(#word, #name.cast(), len / 8, #kind, #optional));
                let put = self.or_invalid(param, *kind, put);
                quote!(#put?)
            }
            Contents::Properties(keys) => {
                let keys = keys.iter().map(|(key, kind)| quote!((#key, #kind)));
                quote!(call.properties(#word, #name.cast(), &[#(#keys),*], #optional)?)
            }
            Contents::Strings {
                count,
                lengths,
                include,
            } => {
                let count = self.value(count);
                let lengths = match lengths {
                    Some(index) => {
                        let lengths = ident(&self.function.params[*index].name);
                        quote!(#lengths)
                    }
                    None => quote!(std::ptr::null()),
                };
                // Without lengths, their zeros travel with them.
                let ended = matches!(contents, Contents::Strings { lengths: None, .. });
                let put =
                    quote!(call.strings(#word, #name.cast(), #count, #lengths, #ended, #optional)?);
                if *include {
                    return quote!(let included = unsafe { #put };);
                }
                put
            }
        };
        match len {
            Some(len) => quote! {
                let len = #len;
                unsafe { #put };
            },
            None => quote!(unsafe { #put };),
        }
    }

    fn bulk(&self, param: &Param) -> TokenStream {
        let name = ident(&param.name);
        let Some(shape) = param.shape.as_ref().filter(|_| !by_hand(self.function)) else {
            return match by_hand(self.function) {
                true => quote!(#name),
                false => quote!(Bulk::line(#name.cast())),
            };
        };
        let [row, rows, slices] = shape.extent.each_ref().map(|e| self.value(e));
        let [row_pitch, slice_pitch] = shape.pitches.each_ref().map(|e| self.value(e));
        let origin = match shape.origin {
            Some(index) => {
                let origin = ident(&self.function.params[index].name);
                quote!(#origin.cast())
            }
            None => quote!(std::ptr::null()),
        };
        let invalid = super::integer(shape.invalid.into());
        quote!(if #name.is_null() {
            Bulk::line(std::ptr::null())
        } else {
            let (extent, pitches) = ([#row, #rows, #slices], [#row_pitch, #slice_pitch]);
            let rows = unsafe { Bulk::rows(#name.cast(), extent, pitches, #origin) };
            rows.ok_or(Code(#invalid))?
        })
    }

    /// Remembers where the memory is that the program has lent a new object.
    fn lends(&self) -> TokenStream {
        let made = match (
            &self.function.new,
            self.function
                .params
                .iter()
                .find(|p| matches!(p.role, Role::New(_))),
        ) {
            (Some(_), _) => quote!(Some(made)),
            (None, Some(param)) => {
                let object = object(&param.name);
                quote!(#object)
            }
            (None, None) => return quote!(),
        };
        let lends = self.function.params.iter().filter_map(|param| {
            let lent = self.holds_true(param.lent.as_ref()?);
            let name = ident(&param.name);
            let address = match by_hand(self.function) {
                true => quote!(#name.address()),
                false => quote!(#name.cast_const().cast()),
            };
            let pitches = match &param.shape {
                Some(shape) => {
                    let pitches = shape.pitches.each_ref().map(|e| self.value(e));
                    quote!([#(#pitches),*])
                }
                None => quote!([0; 2]),
            };
            Some(quote! {
                if let (Some(object), true) = (#made, #lent) {
                    object.lend(#address, #pitches);
                }
            })
        });
        quote!(#(#lends)*)
    }

    fn required(&self, param: &Param) -> TokenStream {
        let name = ident(&param.name);
        match param.optional {
            true => quote!(),
            false => quote!(if #name.is_null() { return Err(call.malformed()); }),
        }
    }

    /// With the parameter's own error for what names no object.
    fn or_invalid(&self, param: &Param, kind: usize, put: TokenStream) -> TokenStream {
        let Some(invalid) = param.invalid else {
            return put;
        };
        let (usual, invalid) = (
            integer(self.spec.kinds[kind].invalid.into()),
            integer(invalid.into()),
        );
        quote!(#put.map_err(|error| if error == Code(#usual) { Code(#invalid) } else { error }))
    }

    fn propose(&self, new: New) -> TokenStream {
        let (word, kind, parent) = (new.word, new.kind, self.parent(new));
        quote!(call.new_object(#word, #kind, #parent)?)
    }

    /// The object that a new one belongs to, if any.
    fn parent(&self, new: New) -> TokenStream {
        let parent = match new.parent {
            Some(parent) => {
                let parent = object(&self.function.params[parent].name);
                quote!(#parent)
            }
            None => quote!(None),
        };
        match new.first {
            Some((param, offset)) => {
                let param = &self.function.params[param];
                let name = ident(&param.name);
                let offset = offset as usize;
                let kind = self.kind_in(&param.resolved, offset);
                quote!({
                    let first = unsafe { call.object_in(#name.cast(), #offset, #kind)? };
                    first.or(#parent)
                })
            }
            None => parent,
        }
    }

    /// The kind of the handle that lies at `offset` of the structure that a pointer is to.
    fn kind_in(&self, pointer: &Type, offset: usize) -> usize {
        let Type::Pointer { to, .. } = pointer else {
            unreachable!("only pointers have fields");
        };
        let Type::Struct(index) = **to else {
            unreachable!("only structures have handles");
        };
        let handles = self.spec.structs[index].handles();
        let found = handles.iter().find(|(at, _)| *at as usize == offset);
        found.map_or(0, |(_, kind)| *kind)
    }

    /// Keeps what is to be kept with the new object.
    fn keeps(&self) -> Option<TokenStream> {
        let value = self.value(self.function.keeps.as_ref()?);
        if self.function.new.is_some() {
            return Some(quote!(made.keep(#value);));
        }
        let new = |param: &&Param| matches!(param.role, Role::New(_));
        let object = object(&self.function.params.iter().find(new)?.name);
        Some(quote!(if let Some(object) = #object { object.keep(#value); }))
    }

    /// Keeps what the text includes that the new object is made of.
    fn includes(&self) -> Option<TokenStream> {
        let is_text = |param: &Param| {
            matches!(
                &param.role,
                Role::Input {
                    contents: Contents::Strings { include: true, .. },
                    ..
                }
            )
        };
        let any = self.function.params.iter().any(is_text);
        any.then(|| quote!(weir_guest::includes::Names::keep(&included, made);))
    }

    /// Whether a call has a place for an output: if the program has one, or if its value says how
    /// much of another output the program gets.
    fn wanted(&self, index: usize, name: &Ident) -> TokenStream {
        let needed_by = self
            .function
            .params
            .iter()
            .filter(|param| match &param.role {
                Role::Output {
                    written: Some(written),
                    ..
                } => {
                    // (Unless that is another thing if the program has none.)
                    let leaves = written.leaves();
                    leaves.contains(&&Leaf::Deref(index)) && !leaves.contains(&&Leaf::IsNull(index))
                }
                _ => false,
            });
        let needed_by = needed_by.map(|param| ident(&param.name));
        quote!(!#name.is_null() #(|| !#needed_by.is_null())*)
    }

    fn is_indexed(&self, index: usize) -> bool {
        let computed = self.function.computed().into_iter();
        computed.flat_map(|e| e.leaves()).any(|leaf| match leaf {
            Leaf::Element(param, _) => *param == index,
            Leaf::Field(field) => field.param == index,
            _ => false,
        })
    }

    fn settings(&self) -> TokenStream {
        let launches = self.function.device_time.then(|| quote!(call.launches();));
        let submits = self.function.submits.then(|| quote!(call.submits();));
        let done = self.function.done.map(|word| match &self.function.blocks {
            Condition::Never => quote!(call.done(#word);),
            Condition::Always => quote!(),
            Condition::If(blocks) => {
                let blocks = self.holds_true(blocks);
                quote!(if !#blocks { call.done(#word); })
            }
        });
        quote!(#launches #submits #done)
    }

    fn send(&self, may_wait: bool) -> TokenStream {
        let function = self.function;
        let failure = match function.failure {
            Failure::Return => quote!(weir_guest::call::Failure::Return),
            Failure::Out(error) => {
                let error = output(&function.params[error].name);
                quote!(weir_guest::call::Failure::Out(#error))
            }
            Failure::Beside { .. } => quote!(weir_guest::call::Failure::Beside(beside)),
            Failure::Nowhere => quote!(weir_guest::call::Failure::Nowhere),
        };
        match &function.cached {
            Condition::Never => {}
            Condition::Always => return quote!(let reply = call.send_cached(#failure)?;),
            Condition::If(condition) => {
                let value = self.value(condition);
                return quote! {
                    let reply = match #value {
                        0 => call.send(false, #failure)?,
                        _ => call.send_cached(#failure)?,
                    };
                };
            }
        }
        let mut queued = match &function.queued {
            Condition::Never => quote!(false),
            Condition::Always => quote!(true),
            Condition::If(condition) => self.holds_true(condition),
        };
        if may_wait {
            queued = quote!(!wait && #queued);
        }
        let repeats = match &function.repeats {
            Condition::Never => None,
            Condition::Always => Some(quote!(true)),
            Condition::If(condition) => Some(self.holds_true(condition)),
        };
        let (equal, learn) = match repeats {
            None => (quote!(), quote!()),
            Some(condition) => {
                let wait = may_wait.then(|| quote!(!wait &&));
                let parts = function.params.iter().enumerate();
                let parts = parts.map(|(index, param)| self.compare(index, param));
                (
                    quote! {
                        let mut queued = queued;
                        let mut equal = None;
                        if !queued && #wait #condition {
                            let mut compared = call.equal();
                            #(#parts)*
                            queued = compared.is_known();
                            equal = Some(compared);
                        }
                    },
                    quote! {
                        if let Some(equal) = equal {
                            equal.learn();
                        }
                    },
                )
            }
        };
        quote! {
            let queued = #queued;
            #equal
            #[allow(unused)]
            let mut reply = call.send(queued, #failure)?;
            #learn
        }
    }

    /// Adds a parameter to what makes a call equal to another.
    fn compare(&self, index: usize, param: &Param) -> TokenStream {
        let name = ident(&param.name);
        let events = |kind: usize| self.spec.event == Some(kind);
        match &param.role {
            Role::Scalar => {
                let value = scalar(&name, &param.resolved);
                quote!(compared.number(#value);)
            }
            Role::Handle(kind) => {
                let object = object(&param.name);
                match self.function.sets {
                    Some((set, part)) if set == index => {
                        let part = &self.function.params[part];
                        let part = scalar(&ident(&part.name), &part.resolved);
                        quote!(compared.sets(#object, #part);)
                    }
                    _ if events(*kind) => quote!(compared.kin(#object);),
                    _ => quote!(compared.object(#object);),
                }
            }
            Role::HandleOrBytes { len, .. } => {
                let (object, len) = (object(&param.name), self.length(len, &name, param));
                quote!(unsafe { compared.object_or_bytes(#object, #name.cast(), #len) };)
            }
            Role::Input {
                len: Some(len),
                contents: Contents::Handles(kind),
            } => {
                let (len, kin) = (self.length(len, &name, param), events(*kind));
                quote!(unsafe { compared.objects(#name.cast(), #len / 8, #kin) };)
            }
            Role::Input {
                len: Some(len),
                contents: Contents::Plain | Contents::Records(_),
            } => {
                let len = self.length(len, &name, param);
                quote!(unsafe { compared.bytes(#name.cast(), #len) };)
            }
            Role::Input {
                contents: Contents::String | Contents::Options,
                ..
            } => quote! {
                if !#name.is_null() {
                    let text = unsafe { std::ffi::CStr::from_ptr(#name.cast()) };
                    unsafe { compared.bytes(#name.cast(), text.to_bytes().len() as u64) };
                }
            },
            role if is_bulk(role) && by_hand(self.function) => quote!(),
            Role::Input { .. } | Role::Output { .. } | Role::New(_) => {
                quote!(compared.number(#name.is_null().into());)
            }
            _ => quote!(),
        }
    }

    /// Brings an output to where the program wants it.
    fn get(&self, _index: usize, param: &Param) -> TokenStream {
        let name = ident(&param.name);
        match &param.role {
            Role::Output { bulk: true, .. } => quote!(),
            Role::Output {
                written, answers, ..
            } => {
                let output_name = output(&param.name);
                let limit = match written {
                    Some(written) => self.written(written),
                    None => quote!(u64::MAX),
                };
                let copy = quote!(reply.copy(#output_name, #name.cast(), limit));
                let copy = match answers {
                    Some(answers) => self.get_answer(answers, &output_name, &name, copy),
                    None => copy,
                };
                quote! {
                    let limit = #limit;
                    unsafe { #copy };
                }
            }
            Role::New(_) => {
                let object = object(&param.name);
                quote! {
                    if let Some(object) = #object {
                        unsafe { #name.write(object.address()) };
                    }
                }
            }
            Role::Found { .. } | Role::NewList { .. } => {
                let output = output(&param.name);
                let stay = matches!(param.role, Role::Found { .. });
                quote! {
                    if let Some(objects) = #output {
                        unsafe { reply.copy_objects(objects, #name.cast(), #stay) };
                    }
                }
            }
            _ => quote!(),
        }
    }

    fn get_answer(
        &self,
        answers: &Answers,
        output: &Ident,
        name: &Ident,
        plain: TokenStream,
    ) -> TokenStream {
        let query = ident(&self.function.params[answers.query].name);
        let cases = answers.cases.iter().map(|(value, answer)| match answer {
            Answer::Handles(_) => {
                quote!(#value => reply.copy_handles(#output, #name.cast(), limit),)
            }
            Answer::Text => quote!(#value => #plain,),
            Answer::Properties(keys) => {
                let keys = keys.iter().map(|(key, _)| key);
                quote!(#value => {
                    reply.copy_properties(#output, #name.cast(), limit, &[#(#keys),*])
                })
            }
        });
        quote!(match #query as u64 { #(#cases)* _ => #plain })
    }

    /// How many bytes of an output are an answer.
    fn written(&self, written: &Expression) -> TokenStream {
        let value = written.to_rust(&mut |leaf| match leaf {
            Leaf::Deref(index) => {
                let output = output(&self.function.params[*index].name);
                quote!(i128::from(reply.number(#output)))
            }
            Leaf::Returned => quote!(i128::from(reply.value)),
            other => self.leaf(other),
        });
        quote!((|| -> Option<i128> { Some(#value) })().and_then(|n| u64::try_from(n).ok()).unwrap_or(0))
    }

    fn counts(&self) -> TokenStream {
        let count = |index: Option<usize>, method: TokenStream| {
            index.map(|index| {
                let object = object(&self.function.params[index].name);
                quote! {
                    if let (Some(object), Ok(weir)) = (#object, LIBRARY.current()) {
                        weir.#method(object);
                    }
                }
            })
        };
        let retains = count(self.function.retains, quote!(objects.retain));
        let releases = count(self.function.releases, quote!(release));
        quote!(#retains #releases)
    }

    /// Bytes of a pointer parameter of `len` elements; 0 if it is null.
    fn length(&self, len: &Expression, name: &Ident, param: &Param) -> TokenStream {
        let bytes = self.bytes(len, param);
        quote!(if #name.is_null() { 0 } else { #bytes })
    }

    /// Bytes of `len` elements of what a parameter points to.
    fn bytes(&self, len: &Expression, param: &Param) -> TokenStream {
        let size = self.spec.element_size(&param.resolved);
        let value = self.value(len);
        match size {
            1 => value,
            _ => quote!((#value).checked_mul(#size).ok_or(call.malformed())?),
        }
    }

    /// Whether a condition holds; one without a value does not.
    fn holds_true(&self, condition: &Expression) -> TokenStream {
        let value = condition.to_rust(&mut |leaf| self.leaf(leaf));
        quote!((|| -> Option<i128> { Some(#value) })().is_some_and(|value| value != 0))
    }

    /// The value of an expression, as a `u64`.
    fn value(&self, expression: &Expression) -> TokenStream {
        if let Expression::Number(value) = expression
            && let Ok(value) = u64::try_from(*value)
        {
            return quote!(#value);
        }
        let value = expression.to_rust(&mut |leaf| self.leaf(leaf));
        quote! {
            (|| -> Option<i128> { Some(#value) })()
                .and_then(|n| u64::try_from(n).ok())
                .ok_or(call.malformed())?
        }
    }

    fn leaf(&self, leaf: &Leaf) -> TokenStream {
        let name = |index: &usize| ident(&self.function.params[*index].name);
        match leaf {
            Leaf::Param(index) => {
                let name = name(index);
                quote!((#name as i128))
            }
            Leaf::Element(index, element) => {
                let name = name(index);
                quote! {
                    (if #name.is_null() { 0 } else {
                        unsafe { *#name.add(#element) as i128 }
                    })
                }
            }
            Leaf::Field(field) => {
                let name = name(&field.param);
                let offset = field.offset as usize;
                let ty = integer_type(field.bytes, field.signed);
                quote! {
                    (if #name.is_null() { 0 } else {
                        i128::from(unsafe {
                            #name.cast::<u8>().add(#offset).cast::<#ty>().read_unaligned()
                        })
                    })
                }
            }
            Leaf::Kept(index) => {
                let object = object(&self.function.params[*index].name);
                quote!(i128::from(#object?.kept()))
            }
            Leaf::Related(indices) => {
                let adds = indices.iter().map(|index| self.add_relative(*index));
                quote!({
                    let mut family = call.family();
                    #(#adds)*
                    i128::from(family.is_one())
                })
            }
            Leaf::Argument(_) => unreachable!("only definitions have arguments"),
            Leaf::IsNull(index) => {
                let name = name(index);
                quote!(i128::from(#name.is_null()))
            }
            Leaf::Bytes(_) => unreachable!("only what an object holds depends on what travels"),
            Leaf::Deref(_) | Leaf::Returned => {
                unreachable!("only what was written depends on outputs")
            }
        }
    }
}

impl Encoder<'_> {
    /// Adds what a parameter names to a `family`.
    fn add_relative(&self, index: usize) -> TokenStream {
        let param = &self.function.params[index];
        match &param.role {
            Role::Input { len: Some(len), .. } => {
                let name = ident(&param.name);
                let count = len.to_rust(&mut |leaf| self.leaf(leaf));
                quote!(unsafe { family.add_list(#name.cast(), #count) };)
            }
            _ => {
                let object = object(&param.name);
                quote!(family.add(#object);)
            }
        }
    }
}

/// Whether a parameter is an object or a list of objects.
fn names_objects(param: &Param) -> bool {
    matches!(
        param.role,
        Role::Handle(_)
            | Role::Input {
                len: Some(_),
                contents: Contents::Handles(_),
            }
    )
}

fn is_bulk(role: &Role) -> bool {
    matches!(
        role,
        Role::Output { bulk: true, .. }
            | Role::Input {
                contents: Contents::Bulk,
                ..
            }
    )
}

/// The bits of a scalar, extended with zeros.
fn scalar(name: &Ident, ty: &Type) -> TokenStream {
    match ty {
        Type::Int { bytes, .. } => {
            let unsigned = format_ident!("u{}", 8 * u32::from(*bytes));
            quote!(#name as #unsigned as u64)
        }
        Type::Float(_) => quote!(u64::from(#name.to_bits())),
        _ => quote!(#name as u64),
    }
}

/// The variable with a parameter's object.
fn object(name: &str) -> Ident {
    format_ident!("{name}_object")
}

/// The variable with the number of a parameter's output.
fn output(name: &str) -> Ident {
    format_ident!("{name}_output")
}

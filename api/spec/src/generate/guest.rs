//! The guest library's C entry points, as calls into the `weir-guest` crate.
//!
//! For each function that is carried as a command there is an *encoder*: a Rust function with the
//! prototype's parameters that makes the command, sends it and brings the answer back, and whose
//! result is the API's error or nothing (or the new object). Round it goes the C entry point; for a
//! function that is written by hand, the hand-written one does, in a module `by_hand` beside the
//! generated code. That module has two names that the generated code asks for: the functions
//! themselves, and a `LIBRARY` of type `weir_guest::connection::Library`.
//!
//! An encoder for a hand-written entry point differs in what it takes:
//! - parameters marked `extra` are there, those marked `guest_only`, callbacks and their data not;
//! - bulk data is a `weir_guest::call::Bulk`;
//! - what may be a handle or bytes is two parameters, the object first;
//! - if the call may be queued, a last parameter `wait` says that it must not be.

use proc_macro2::TokenStream;
use quote::{format_ident, quote};
use syn::Ident;

use crate::Spec;
use crate::expression::{Expression, Leaf};
use crate::model::{
    Answer, Answers, Callback, Carried, Condition, Contents, Failure, Function, New, Param, Role,
    Type,
};

/// Everything that the guest library needs of `spec`, as the text of a module.
///
/// # Panics
///
/// If the spec was not checked: its parameters refer to others that cannot be.
pub fn generate(spec: &Spec) -> String {
    let declarations = declarations(spec);
    let face = face(spec);
    let encoders = spec.functions.iter().filter(|f| is_command(f)).map(|f| {
        let encoder = Encoder { spec, function: f };
        encoder.generate()
    });
    let entries = spec.functions.iter().map(|function| entry(spec, function));
    let table = table(spec);
    super::pretty(quote! {
        use super::by_hand;
        use weir_guest::Code;
        use weir_guest::call::{Bulk, Call};

        #declarations
        #face
        #table

        /// Functions that make, send and answer one command each.
        pub mod encode {
            use super::*;
            #(#encoders)*
        }

        /// The C entry points that are not written by hand.
        pub mod entry {
            use super::*;
            #(#entries)*
        }
    })
}

fn is_command(function: &Function) -> bool {
    matches!(function.carried, Carried::Command { .. })
}

fn by_hand(function: &Function) -> bool {
    matches!(
        function.carried,
        Carried::Local
            | Carried::Command {
                by_hand_guest: true,
                ..
            }
    )
}

fn declarations(spec: &Spec) -> TokenStream {
    let aliases = spec.aliases.iter().map(|alias| {
        let (name, target) = (ident(&alias.name), &alias.target);
        quote!(pub type #name = #target;)
    });
    let kinds = spec.kinds.iter().map(|kind| {
        let name = ident(&kind.name);
        quote!(pub type #name = *mut c_void;)
    });
    let structs = spec.structs.iter().map(|declared| {
        let mut item = declared.item.clone();
        item.vis = syn::parse_quote!(pub);
        for field in &mut item.fields {
            field.vis = syn::parse_quote!(pub);
        }
        quote!(#item)
    });
    let constants = spec.constants.iter().map(|constant| {
        let (name, ty) = (ident(&constant.name), &constant.ty);
        let value = integer(constant.value);
        quote!(pub const #name: #ty = #value;)
    });
    quote! {
        use std::ffi::{c_char, c_uchar, c_uint, c_int, c_void};
        #(#aliases)*
        #(#kinds)*
        #(#structs)*
        #(#constants)*
    }
}

fn face(spec: &Spec) -> TokenStream {
    let (name, id) = (&spec.name, spec.id);
    let invalid = spec.kinds.iter().map(|kind| integer(kind.invalid.into()));
    let kinds = spec.kinds.iter().enumerate().map(|(number, kind)| {
        let name = ident(&kind.name.to_uppercase());
        quote!(pub const #name: usize = #number;)
    });
    let numbers = spec.functions.iter().map(|function| {
        let (name, number) = (ident(&function.name), function.number);
        quote!(pub const #name: u16 = #number;)
    });
    let [lost, malformed, quota, unsupported] = [
        spec.errors.lost,
        spec.errors.malformed,
        spec.errors.quota,
        spec.errors.unsupported,
    ]
    .map(|code| integer(code.into()));
    quote! {
        /// The API's name.
        pub const NAME: &str = #name;
        /// The API's number.
        pub const ID: u16 = #id;
        /// Errors that Weir itself gives.
        pub const ERRORS: weir_guest::Errors = weir_guest::Errors {
            lost: #lost,
            malformed: #malformed,
            quota: #quota,
            unsupported: #unsupported,
        };
        /// For each kind of object, the error for a pointer that is none.
        pub const INVALID: &[i64] = &[#(#invalid),*];
        /// Numbers of the kinds of objects.
        pub mod kind {
            #(#kinds)*
        }
        /// Numbers of the functions.
        pub mod number {
            #(#numbers)*
        }
    }
}

/// All entry points in the spec's order, which is the order of the API's dispatch table.
fn table(spec: &Spec) -> TokenStream {
    let count = spec.functions.len();
    let names = spec.functions.iter().map(|function| &function.name);
    let addresses = spec.functions.iter().map(|function| {
        let name = ident(&function.name);
        let module = if by_hand(function) {
            quote!(by_hand)
        } else {
            quote!(entry)
        };
        quote!(#module::#name as *const c_void)
    });
    // What is written by hand must have the prototype that the spec says.
    let prototypes = spec
        .functions
        .iter()
        .filter(|f| by_hand(f))
        .map(|function| {
            let name = ident(&function.name);
            let types = c_params(function).map(|param| &param.ty);
            let returns = returns(function);
            quote!(const _: unsafe extern "C" fn(#(#types),*) #returns = by_hand::#name;)
        });
    quote! {
        /// Addresses of entry points.
        pub struct Table(pub [*const c_void; #count]);
        // SAFETY: the addresses of functions, which never change.
        unsafe impl Sync for Table {}
        /// All entry points.
        pub static TABLE: Table = Table([#(#addresses),*]);
        /// Their names.
        pub static NAMES: [&str; #count] = [#(#names),*];
        #(#prototypes)*
    }
}

fn c_params(function: &Function) -> impl Iterator<Item = &Param> {
    function.params.iter().filter(|param| !param.extra)
}

fn returns(function: &Function) -> TokenStream {
    match &function.returns {
        Some(ty) => quote!(-> #ty),
        None => quote!(),
    }
}

/// The C entry point, unless it is written by hand.
fn entry(spec: &Spec, function: &Function) -> TokenStream {
    if by_hand(function) {
        return quote!();
    }
    let name = ident(&function.name);
    let signature = c_params(function).map(|param| {
        let (name, ty) = (ident(&param.name), &param.ty);
        quote!(#name: #ty)
    });
    let returns = returns(function);
    let result = match function.carried {
        Carried::Unsupported(code) => {
            let code = integer(code.into());
            quote!(Err::<_, Code>(Code(#code)))
        }
        _ => {
            let arguments = encoded_params(function).map(|param| ident(&param.name));
            let call = quote!(unsafe { encode::#name(#(#arguments),*) });
            with_callback(spec, function, call)
        }
    };
    let finish = finish(function, result);
    quote! {
        pub unsafe extern "C" fn #name(#(#signature),*) #returns {
            #finish
        }
    }
}

/// Calls the program's callbacks back round `call`, as their parameters' roles say.
fn with_callback(spec: &Spec, function: &Function, call: TokenStream) -> TokenStream {
    let mut result = call;
    for param in &function.params {
        let Role::Callback(callback) = &param.role else {
            continue;
        };
        let name = ident(&param.name);
        match callback {
            Callback::Never => {}
            Callback::Unsupported => {
                let code = integer(spec.errors.unsupported.into());
                result = quote!(if #name.is_some() { Err(Code(#code)) } else { #result });
            }
            Callback::After => {
                let arguments = callback_arguments(function, param);
                result = quote!({
                    let result = #result;
                    // Where the call was refused outright, nothing was begun that could end.
                    let begun = !matches!(result, Err(Code(code)) if INVALID.contains(&code));
                    if let (true, Some(notify)) = (begun, #name) {
                        unsafe { notify(#(#arguments),*) };
                    }
                    result
                });
            }
        }
    }
    result
}

/// What a callback is given: handles by their types, and the program's data.
fn callback_arguments(function: &Function, callback: &Param) -> Vec<TokenStream> {
    let mut types = Vec::new();
    let mut visitor = Parameters(&mut types);
    visitor.visit(&callback.ty);
    types
        .iter()
        .map(|ty| {
            let same = |param: &&Param| &param.ty == ty && matches!(param.role, Role::Handle(_));
            let data = |param: &&Param| matches!(param.role, Role::UserData);
            let params = &function.params;
            let found = params.iter().find(same).or(params.iter().find(data));
            let found = found.unwrap_or_else(|| {
                panic!("{}: nothing to call {} with", function.name, callback.name)
            });
            let name = ident(&found.name);
            quote!(#name)
        })
        .collect()
}

/// Finds the parameters of the function type inside of an `Option`.
struct Parameters<'a>(&'a mut Vec<syn::Type>);

impl Parameters<'_> {
    fn visit(&mut self, ty: &syn::Type) {
        match ty {
            syn::Type::BareFn(function) => {
                self.0
                    .extend(function.inputs.iter().map(|input| input.ty.clone()));
            }
            syn::Type::Path(path) => {
                let last = path.path.segments.last().map(|segment| &segment.arguments);
                if let Some(syn::PathArguments::AngleBracketed(arguments)) = last {
                    for argument in &arguments.args {
                        if let syn::GenericArgument::Type(ty) = argument {
                            self.visit(ty);
                        }
                    }
                }
            }
            _ => {}
        }
    }
}

/// Turns a result into what the C function returns.
fn finish(function: &Function, result: TokenStream) -> TokenStream {
    match (function.failure, &function.return_type) {
        (Failure::Return, _) => {
            let ty = &function.returns;
            quote!(match #result { Ok(()) => 0, Err(Code(code)) => code as #ty })
        }
        (Failure::Out(error), _) => {
            let error = ident(&function.params[error].name);
            quote! {
                let (value, code) = match #result {
                    Ok(value) => (value, 0),
                    Err(Code(code)) => (std::ptr::null_mut(), code),
                };
                if !#error.is_null() {
                    unsafe { #error.write(code as _) };
                }
                value
            }
        }
        (Failure::Nowhere, Type::Nothing) => quote!(let _: Result<(), Code> = #result;),
        (Failure::Nowhere, Type::Pointer { .. } | Type::Handle(_)) => {
            quote!(#result.unwrap_or(std::ptr::null_mut()))
        }
        (Failure::Nowhere, _) => quote!(#result.unwrap_or_default()),
    }
}

/// Parameters that an encoder has.
fn encoded_params(function: &Function) -> impl Iterator<Item = &Param> {
    function.params.iter().filter(|param| {
        !matches!(
            param.role,
            Role::Callback(_) | Role::UserData | Role::GuestOnly { .. } | Role::Error
        )
    })
}

struct Encoder<'a> {
    spec: &'a Spec,
    function: &'a Function,
}

impl Encoder<'_> {
    fn generate(&self) -> TokenStream {
        let function = self.function;
        let name = ident(&function.name);
        let signature = encoded_params(function).map(|param| self.parameter(param));
        let wait = match function.queued {
            Condition::Never => None,
            _ if by_hand(function) => Some(quote!(, wait: bool)),
            _ => None,
        };
        let (number, words) = (function.number, function.words);
        let clamps = function.params.iter().filter_map(|param| self.clamp(param));
        let puts = function
            .params
            .iter()
            .enumerate()
            .map(|(index, param)| self.put(index, param));
        let new = function.new.map(|new| {
            let put = self.propose(new);
            quote!(let made = #put;)
        });
        let settings = self.settings();
        let send = self.send(wait.is_some());
        let gets = function
            .params
            .iter()
            .enumerate()
            .map(|(index, param)| self.get(index, param));
        let counts = self.counts();
        let (result, value) = match (&function.new, function.failure) {
            (Some(_), _) => (quote!(*mut c_void), quote!(made.address())),
            _ => (quote!(()), quote!(())),
        };
        quote! {
            pub unsafe fn #name(#(#signature),* #wait) -> Result<#result, Code> {
                #(#clamps)*
                let mut call = Call::new(&by_hand::LIBRARY, #number, #words)?;
                #(#puts)*
                #new
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
            Role::HandleOrBytes { .. } => {
                let object = object(&param.name);
                quote!(#object: Option<&weir_guest::objects::Object>, #name: #ty)
            }
            _ => quote!(#name: #ty),
        }
    }

    /// A call finds no more objects than there are bits to say which: asked for more, it asks for
    /// fewer.
    fn clamp(&self, param: &Param) -> Option<TokenStream> {
        let Role::Found { len, .. } = &param.role else {
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
                quote!(let #object = call.object(#word, #name, #kind, #optional)?;)
            }
            Role::Input { len, contents } => self.put_input(index, param, len.as_ref(), contents),
            Role::Output {
                len, bulk: true, ..
            } => {
                let len = self.length(len, &name, param);
                let bulk = self.bulk(&name);
                quote! {
                    let len = #len;
                    unsafe { call.bulk_output(#word, #bulk, len, #optional)? };
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
            Role::Found { kind, len } => {
                let output = output(&param.name);
                let required = self.required(param);
                let len = self.length(len, &name, param);
                quote! {
                    #required
                    let #output = if #name.is_null() {
                        None
                    } else {
                        Some(call.found(#word, #kind, #len / 8)?)
                    };
                }
            }
            Role::HandleOrBytes { len } => {
                let len = self.length(len, &name, param);
                let object = object(&param.name);
                quote! {
                    let len = #len;
                    unsafe { call.handle_or_bytes(#word, #object, #name, len)? };
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
                let bulk = self.bulk(&name);
                quote!(call.bulk_input(#word, #bulk, len, #optional)?)
            }
            Contents::String => quote!(call.string(#word, #name.cast(), #optional)?),
            Contents::Handles(kind) => {
                quote!(call.objects(#word, #name.cast(), len / 8, #kind, #optional)?)
            }
            Contents::Properties(keys) => {
                let keys = keys.iter().map(|(key, kind)| quote!((#key, #kind)));
                quote!(call.properties(#word, #name.cast(), &[#(#keys),*], #optional)?)
            }
            Contents::Strings { count, lengths } => {
                let count = self.value(count);
                let lengths = match lengths {
                    Some(index) => {
                        let lengths = ident(&self.function.params[*index].name);
                        quote!(#lengths)
                    }
                    None => quote!(std::ptr::null()),
                };
                quote!(call.strings(#word, #name.cast(), #count, #lengths, #optional)?)
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

    fn bulk(&self, name: &Ident) -> TokenStream {
        if by_hand(self.function) {
            quote!(#name)
        } else {
            quote!(Bulk::line(#name.cast()))
        }
    }

    fn required(&self, param: &Param) -> TokenStream {
        let name = ident(&param.name);
        match param.optional {
            true => quote!(),
            false => quote!(if #name.is_null() { return Err(call.malformed()); }),
        }
    }

    fn propose(&self, new: New) -> TokenStream {
        let (word, kind) = (new.word, new.kind);
        let parent = match new.parent {
            Some(parent) => {
                let parent = object(&self.function.params[parent].name);
                quote!(#parent)
            }
            None => quote!(None),
        };
        quote!(call.new_object(#word, #kind, #parent)?)
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
                } => written.leaves().contains(&&Leaf::Deref(index)),
                _ => false,
            });
        let needed_by = needed_by.map(|param| ident(&param.name));
        quote!(!#name.is_null() #(|| !#needed_by.is_null())*)
    }

    fn is_indexed(&self, index: usize) -> bool {
        let in_expression = |expression: &Expression| {
            let mut leaves = expression.leaves().into_iter();
            leaves.any(|leaf| matches!(leaf, Leaf::Element(array, _) if *array == index))
        };
        let in_condition =
            |condition: &Condition| matches!(condition, Condition::If(e) if in_expression(e));
        let function = self.function;
        in_condition(&function.queued)
            || in_condition(&function.blocks)
            || function.holds.as_ref().is_some_and(in_expression)
            || function.params.iter().any(|param| match &param.role {
                Role::Input { len, .. } => len.as_ref().is_some_and(in_expression),
                Role::Output { len, .. }
                | Role::Found { len, .. }
                | Role::HandleOrBytes { len } => in_expression(len),
                _ => false,
            })
    }

    fn settings(&self) -> TokenStream {
        let launches = self.function.device_time.then(|| quote!(call.launches();));
        let submits = self.function.submits.then(|| quote!(call.submits();));
        let done = self.function.done.map(|word| quote!(call.done(#word);));
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
            Failure::Nowhere => quote!(weir_guest::call::Failure::Nowhere),
        };
        if function.cached {
            return quote!(let reply = call.send_cached(#failure)?;);
        }
        let mut queued = match &function.queued {
            Condition::Never => quote!(false),
            Condition::Always => quote!(true),
            Condition::If(condition) => {
                let value = self.value(condition);
                quote!((#value) != 0)
            }
        };
        if may_wait {
            queued = quote!(!wait && #queued);
        }
        quote! {
            let queued = #queued;
            #[allow(unused)]
            let mut reply = call.send(queued, #failure)?;
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
            Role::Found { .. } => {
                let output = output(&param.name);
                quote! {
                    if let Some(found) = #output {
                        unsafe { reply.copy_found(found, #name.cast()) };
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
            other => self.leaf(other),
        });
        quote!((|| -> Option<i128> { Some(#value) })().and_then(|n| u64::try_from(n).ok()).unwrap_or(0))
    }

    fn counts(&self) -> TokenStream {
        let count = |index: Option<usize>, method: Ident| {
            index.map(|index| {
                let object = object(&self.function.params[index].name);
                quote! {
                    if let (Some(object), Ok(weir)) = (#object, by_hand::LIBRARY.current()) {
                        weir.objects.#method(object);
                    }
                }
            })
        };
        let retains = count(self.function.retains, format_ident!("retain"));
        let releases = count(self.function.releases, format_ident!("release"));
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
                    (if #name.is_null() { return None } else {
                        unsafe { *#name.add(#element) as i128 }
                    })
                }
            }
            Leaf::IsNull(index) => {
                let name = name(index);
                quote!(i128::from(#name.is_null()))
            }
            Leaf::Deref(_) => unreachable!("only what was written depends on outputs"),
        }
    }
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

fn ident(name: &str) -> Ident {
    // Some C names are Rust keywords.
    syn::parse_str(name).unwrap_or_else(|_| format_ident!("r#{name}"))
}

/// The variable with a parameter's object.
fn object(name: &str) -> Ident {
    format_ident!("{name}_object")
}

/// The variable with the number of a parameter's output.
fn output(name: &str) -> Ident {
    format_ident!("{name}_output")
}

fn integer(value: i128) -> proc_macro2::Literal {
    proc_macro2::Literal::i128_unsuffixed(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The beginning of every spec here.
    const HEAD: &str = r#"
        #![api(name = "toy", id = 9, library = "libtoy.so", event = toy_event)]
        #![errors(lost = E_LOST, malformed = E_BAD, quota = E_FULL, unsupported = E_NOT)]
        use core::ffi::c_void;
        type toy_int = i32;
        type toy_uint = u32;
        const E_LOST: toy_int = -1;
        const E_BAD: toy_int = -2;
        const E_FULL: toy_int = -3;
        const E_NOT: toy_int = -4;
        const E_THING: toy_int = -5;
        const E_EVENT: toy_int = -6;
        #[handle(E_THING)]
        type toy_thing = *mut c_void;
        #[handle(E_EVENT)]
        type toy_event = *mut c_void;
    "#;

    fn generated(functions: &str) -> String {
        let text = format!("{HEAD} unsafe extern \"C\" {{ {functions} }}");
        let spec = Spec::parse("toy.rs", &text).unwrap_or_else(|error| panic!("{error}"));
        generate(&spec)
    }

    #[test]
    fn an_unsupported_function_gives_its_error() {
        let text = generated(
            "#[unsupported] fn no(a: toy_int) -> toy_int;
             #[unsupported] fn none(#[error] e: *mut toy_int) -> toy_thing;",
        );
        assert!(text.contains("pub unsafe extern \"C\" fn no(a: toy_int) -> toy_int"));
        assert!(text.contains("Err::<_, Code>(Code(-4))"));
        assert!(text.contains("e.write(code as _)"));
        assert!(!text.contains("fn no(a: toy_int) -> Result"));
    }

    #[test]
    fn a_hand_written_function_has_an_encoder_and_a_checked_prototype() {
        let text = generated(
            "#[call(queued, by_hand(guest))]
             fn put(thing: toy_thing, n: usize, #[arg(len(n), bulk)] p: *const c_void) -> toy_int;",
        );
        assert!(text.contains("= by_hand::put;"), "{text}");
        assert!(text.contains("p: Bulk"));
        assert!(text.contains("wait: bool"));
        assert!(text.contains("let queued = !wait && true;"));
        assert!(!text.contains("extern \"C\" fn put(thing"));
    }

    #[test]
    fn counts_of_references_follow_what_was_sent() {
        let text =
            generated("#[call(queued, releases(thing))] fn drop(thing: toy_thing) -> toy_int;");
        let sent = text.find("call.send(queued").expect("it is sent");
        let counted = text
            .find("weir.objects.release(object)")
            .expect("it is counted");
        assert!(sent < counted);
    }

    #[test]
    fn lengths_that_overflow_are_malformed() {
        let text =
            generated("fn get(thing: toy_thing, n: usize, #[len(n)] p: *mut toy_uint) -> toy_int;");
        assert!(text.contains(".checked_mul(4u64)"));
        assert!(text.contains("ok_or(call.malformed())?"));
    }
}

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
//! - if the call may be queued, a last parameter `wait` says that it must not be.

mod encoder;

use proc_macro2::TokenStream;
use quote::{format_ident, quote};
use syn::Ident;

use crate::Spec;
use crate::expression::{Expression, Leaf};
use crate::model::{
    Callback, Carried, Contents, Failure, Fallback, Fold, Function, Param, Role, Split, Type,
};

/// Everything that the guest library needs of `spec`, as the text of a module.
///
/// # Panics
///
/// If the spec was not checked: its parameters refer to others that cannot be.
pub fn generate(spec: &Spec) -> String {
    let encoding = encoding(spec);
    let entries = spec.functions.iter().map(|function| entry(spec, function));
    let table = table(spec);
    let finder = finder(spec);
    super::pretty(quote! {
        #encoding
        #table

        #finder
        /// The C entry points that are not written by hand.
        pub mod entry {
            use super::*;
            #(#entries)*
        }
    })
}

/// The same without the C entry points.
pub fn encoders(spec: &Spec) -> String {
    super::pretty(encoding(spec))
}

fn encoding(spec: &Spec) -> TokenStream {
    let declarations = declarations(spec);
    let face = face(spec);
    let encoders = spec
        .functions
        .iter()
        .filter(|f| is_command(f))
        .map(|f| encoder::Encoder { spec, function: f }.generate());
    let values = super::values(spec);
    let library = library(spec);
    quote! {
        #library
        use weir_guest::Code;
        use weir_guest::call::{Bulk, Call};

        #declarations
        #values
        #face

        /// Functions that make, send and answer one command each.
        pub mod encode {
            use super::*;
            #(#encoders)*
        }
    }
}

/// Where the place of the connection is: in the hand-written part, or here.
fn library(spec: &Spec) -> TokenStream {
    if !spec.interposed {
        return quote! {
            use super::by_hand;
            use by_hand::LIBRARY;
        };
    }
    quote! {
        static FACE: weir_guest::Face = weir_guest::Face {
            ended: |weir, ended| weir.objects.end(ended),
            name: NAME,
            id: ID,
            errors: ERRORS,
            invalid: INVALID,
            dispatch: || std::ptr::null(),
            reports: |_| false,
            drain: |_| {},
        };
        /// The place of this process's connection.
        pub static LIBRARY: weir_guest::connection::Library =
            weir_guest::connection::Library::at_first_call(&FACE);
    }
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
        Carried::Ignored => ignored(spec, function),
        Carried::AtEnd {
            object,
            function: called,
            data,
        } => at_end(spec, function, [object, called, data]),
        Carried::Finds(name) => {
            let name = ident(&function.params[name].name);
            quote!(Ok::<*mut c_void, Code>(unsafe { find(#name.cast()) }))
        }
        _ => {
            let arguments = encoded_params(function).map(|param| ident(&param.name));
            let call = quote!(unsafe { encode::#name(#(#arguments),*) });
            let call = match function.split {
                Some(split) => in_pieces(spec, function, split, call),
                None => call,
            };
            with_callback(spec, function, call)
        }
    };
    let finish = finish(function, result);
    let body = match function.folds {
        Some(fold) => folded(function, fold, &finish),
        None => finish,
    };
    let export = (spec.interposed || function.exported).then(|| quote!(#[unsafe(no_mangle)]));
    quote! {
        #export
        pub unsafe extern "C" fn #name(#(#signature),*) #returns {
            #body
        }
    }
}

/// Looks whether all handles name objects.
fn ignored(spec: &Spec, function: &Function) -> TokenStream {
    let looks = function.params.iter().filter_map(|param| {
        let Type::Handle(kind) = param.resolved else {
            return None;
        };
        let (name, code) = (ident(&param.name), integer(spec.kinds[kind].invalid.into()));
        Some(quote!(weir.objects.find(#name, #kind).ok_or(Code(#code))?;))
    });
    quote!((|| {
        let weir = LIBRARY.current()?;
        #(#looks)*
        Ok::<(), Code>(())
    })())
}

/// Keeps a function and its data until an object is gone.
fn at_end(spec: &Spec, function: &Function, params: [usize; 3]) -> TokenStream {
    let [object, called, data] = params.map(|index| ident(&function.params[index].name));
    let Type::Handle(kind) = function.params[params[0]].resolved else {
        unreachable!("it was looked up as a handle");
    };
    let (invalid, malformed) = (
        integer(spec.kinds[kind].invalid.into()),
        integer(spec.errors.malformed.into()),
    );
    quote!((|| {
        let weir = LIBRARY.current()?;
        let object = weir.objects.find(#object, #kind).ok_or(Code(#invalid))?;
        let function = #called.ok_or(Code(#malformed))?;
        weir.objects.at_end(object, function, #data.cast());
        Ok::<(), Code>(())
    })())
}

/// The function that finds others, if the API has one.
fn finder(spec: &Spec) -> TokenStream {
    let finds = |f: &Function| matches!(f.carried, Carried::Finds(_));
    if !spec.functions.iter().any(finds) {
        return quote!();
    }
    let supported = |f: &&Function| !matches!(f.carried, Carried::Unsupported(_));
    let names = spec
        .functions
        .iter()
        .filter(supported)
        .flat_map(|function| {
            let index = usize::from(function.number);
            let names = std::iter::once(function.name.as_str());
            let alias = function.extension.as_ref().and_then(|e| e.alias.as_deref());
            names.chain(alias).map(move |name| quote!((#name, #index)))
        });
    quote! {
        /// Names of the functions that do something, and their places in the table.
        pub const FOUND: &[(&str, usize)] = &[#(#names),*];

        /// The address of the function of this name; null if there is none.
        unsafe fn find(name: *const c_char) -> *mut c_void {
            if name.is_null() {
                return std::ptr::null_mut();
            }
            let name = unsafe { std::ffi::CStr::from_ptr(name) }.to_bytes();
            let further = by_hand::FURTHER.iter().find(|(known, _)| known.as_bytes() == name);
            let found = FOUND.iter().find(|(known, _)| known.as_bytes() == name);
            match (further, found) {
                (Some((_, address)), _) => address(),
                (None, Some((_, index))) => TABLE.0[*index].cast_mut(),
                (None, None) => std::ptr::null_mut(),
            }
        }
    }
}

/// Makes the call piece by piece.
fn folded(function: &Function, fold: Fold, each: &TokenStream) -> TokenStream {
    let name = |index: usize| ident(&function.params[index].name);
    let (value, bytes, len) = (name(fold.value), name(fold.bytes), name(fold.len));
    quote! {
        let (mut #value, mut #bytes, mut rest) = (#value, #bytes, #len);
        loop {
            let #len = if #bytes.is_null() { rest } else { rest.min(weir_guest::call::PIECE as _) };
            #value = { #each };
            rest -= #len;
            if rest == 0 {
                return #value;
            }
            #bytes = unsafe { #bytes.byte_add(#len as usize) };
        }
    }
}

/// Makes `call` once for each piece. The last piece goes first, so that a transfer beyond its object's
/// end fails before anything has happened.
fn in_pieces(spec: &Spec, function: &Function, split: Split, call: TokenStream) -> TokenStream {
    let name = |index: usize| ident(&function.params[index].name);
    let (offset, len, blocking) = (name(split.offset), name(split.len), name(split.blocking));
    let pieces = function.params.iter().filter_map(|param| {
        let name = ident(&param.name);
        match &param.role {
            Role::Input {
                contents: Contents::Bulk,
                ..
            }
            | Role::Output { bulk: true, .. } => Some(quote! {
                let #name = match #name.is_null() {
                    true => #name,
                    false => #name.wrapping_byte_add(piece.at as usize),
                };
            }),
            Role::Input {
                len: Some(Expression::Leaf(Leaf::Param(count))),
                contents: Contents::Handles(kind),
            } if Some(*kind) == spec.event => {
                let count = ident(&function.params[*count].name);
                Some(quote! {
                    let (#count, #name) = match piece.is_first {
                        true => (#count, #name),
                        false => (0, std::ptr::null()),
                    };
                })
            }
            Role::New(new) if Some(new.kind) == spec.event => Some(quote! {
                let #name = match piece.is_last {
                    true => #name,
                    false => std::ptr::null_mut(),
                };
            }),
            _ => None,
        }
    });
    quote!(by_hand::LIBRARY.current().and_then(|weir| {
        weir_guest::call::in_pieces(weir, #len as u64, |piece| {
            let #offset = #offset.wrapping_add(piece.at as _);
            let #len = piece.len as _;
            // There would be no room for all of them at once.
            let #blocking = if piece.is_whole() { #blocking } else { 1 };
            #(#pieces)*
            #call
        })
    }))
}

/// Calls the program's callbacks back round `call`, as their parameters' roles say.
fn with_callback(spec: &Spec, function: &Function, call: TokenStream) -> TokenStream {
    let mut result = call;
    if let Some(data) = function
        .params
        .iter()
        .find(|p| matches!(p.role, Role::UserData))
    {
        let callbacks = function.params.iter();
        let callbacks = callbacks.filter(|p| matches!(p.role, Role::Callback(_)));
        let callbacks = callbacks.map(|param| ident(&param.name));
        let (data, code) = (ident(&data.name), integer(spec.errors.malformed.into()));
        result = quote! {
            if !#data.is_null() #(&& #callbacks.is_none())* { Err(Code(#code)) } else { #result }
        };
    }
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
                let made = function
                    .new
                    .map(|_| quote!(let made = *result.as_ref().unwrap_or(&std::ptr::null_mut());));
                result = quote!({
                    let result = #result;
                    #made
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
            let returned = function.returns.as_ref() == Some(ty) && function.new.is_some();
            if returned {
                return quote!(made);
            }
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
        (Failure::Beside { fallback, .. }, ty) => {
            let otherwise = match (fallback, ty) {
                (Fallback::Abort, _) => {
                    let name = &function.name;
                    quote!(weir_guest::connection::abort(#name, &LIBRARY))
                }
                (Fallback::Value(_), Type::Nothing) => quote!(()),
                (Fallback::Value(_), Type::Pointer { .. } | Type::Handle(_)) => {
                    quote!(std::ptr::null_mut())
                }
                (Fallback::Value(value), _) => {
                    let value = integer(value);
                    quote!(#value as _)
                }
            };
            quote!(match #result { Ok(value) => value, Err(_) => #otherwise })
        }
        (Failure::Nowhere, Type::Nothing) => quote!(let _: Result<(), Code> = #result;),
        (Failure::Nowhere, Type::Pointer { .. } | Type::Handle(_)) => {
            quote!(#result.unwrap_or(std::ptr::null_mut()))
        }
        (Failure::Nowhere, _) => quote!(#result.unwrap_or_default()),
    }
}

/// Parameters that an encoder has.
pub(super) fn encoded_params(function: &Function) -> impl Iterator<Item = &Param> {
    function.params.iter().filter(|param| {
        !matches!(
            param.role,
            Role::Callback(_) | Role::UserData | Role::GuestOnly { .. } | Role::Error
        )
    })
}

/// Names of the generated code's own variables: a parameter of such a name gets another.
const TAKEN: &[&str] = &[
    "beside", "call", "code", "compared", "equal", "family", "found", "len", "limit", "made",
    "object", "queued", "reply", "result", "value", "wait", "wanted", "weir",
];

pub(super) fn ident(name: &str) -> Ident {
    if TAKEN.contains(&name) {
        return format_ident!("{name}_");
    }
    // Some C names are Rust keywords.
    syn::parse_str(name).unwrap_or_else(|_| format_ident!("r#{name}"))
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
        let counted = text.find("weir.release(object)").expect("it is counted");
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

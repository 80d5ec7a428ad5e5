//! The worker's side of an API: the vendor library's functions, and the dispatch of commands onto
//! them.

use proc_macro2::TokenStream;
use quote::{format_ident, quote};

use super::extensions::{extensions, vendors};
use super::pretty;
use super::table::{Order, leaf_of_call, order, scalar_as};
use crate::expression::{Expression, Leaf, integer_type};
use crate::model::*;

/// Code that defines
/// - the API's types,
/// - `Vendor`, the functions of the vendor library, and how it is loaded,
/// - `words`, the words of each function's parameters,
/// - `calls`, which makes each call on the vendor library,
/// - `ByHand`, the trait of those calls that are written by hand, and
/// - `make`, which makes any call.
///
/// It stands in a module beside the table's, as `super::table`.
pub fn generate(spec: &Spec) -> String {
    let types = types(spec);
    let vendor = vendor(spec);
    let words = spec.functions.iter().filter(|f| is_command(f)).map(words);
    let by_hand = spec
        .functions
        .iter()
        .filter(|f| is_by_hand(f))
        .map(|function| {
            let name = format_ident!("{}", function.name);
            quote!(fn #name(&self, vendor: &Vendor, turn: &mut Turn<'_>) -> Made;)
        });
    let calls = spec
        .functions
        .iter()
        .filter(|f| is_command(f) && can_be_generated(f))
        .map(|function| call(spec, function));
    let arms = spec.functions.iter().map(|function| {
        let name = format_ident!("{}", function.name);
        let number = function.number;
        match function.carried {
            Carried::Unsupported(error) => quote!(#number => Err(Refused(#error)),),
            Carried::Local | Carried::AtEnd { .. } | Carried::Ignored | Carried::Finds(_) => {
                quote!()
            }
            Carried::Command { .. } if is_by_hand(function) => {
                quote!(#number => hand.#name(vendor, turn),)
            }
            Carried::Command { .. } => quote!(#number => calls::#name(vendor, turn),),
        }
    });
    let unsupported = spec.errors.unsupported;
    let values = super::values(spec);
    let library = library(spec);
    pretty(quote! {
        use core::ffi::{c_char, c_int, c_uchar, c_uint, c_void};
        use weir_runtime::turn::{Answer, Made, Naming, Refused, Turn};
        use weir_wire::command::Call;
        #[allow(unused_imports)]
        use weir_wire::function::Kept;
        #[allow(unused_imports)]
        use weir_wire::handle::Handle;

        #values
        #types
        #vendor

        /// The words of each function's parameters.
        pub mod words {
            #(#words)*
        }

        /// The calls that are written by hand.
        pub trait ByHand {
            #(#by_hand)*
        }

        /// Makes the call whose turn it is.
        pub fn make(hand: &impl ByHand, vendor: &Vendor, turn: &mut Turn<'_>) -> Made {
            match turn.number() {
                #(#arms)*
                _ => Err(Refused(#unsupported)),
            }
        }

        /// Each call, made on the vendor library as it came.
        pub mod calls {
            use super::*;

            #(#calls)*
        }

        #library
    })
}

fn is_command(function: &Function) -> bool {
    matches!(function.carried, Carried::Command { .. })
}

fn is_by_hand(function: &Function) -> bool {
    matches!(
        function.carried,
        Carried::Command {
            by_hand_worker: true,
            ..
        }
    )
}

/// Whether everything about it can be said in attributes.
pub(super) fn can_be_generated(function: &Function) -> bool {
    let odd = |p: &Param| p.extra || matches!(p.role, Role::Found { .. });
    !function.params.iter().any(odd)
}

fn types(spec: &Spec) -> TokenStream {
    let aliases = spec.aliases.iter().map(|alias| {
        let (name, target) = (format_ident!("{}", alias.name), &alias.target);
        quote!(pub type #name = #target;)
    });
    let handles = spec.kinds.iter().map(|kind| {
        let name = format_ident!("{}", kind.name);
        quote!(pub type #name = *mut c_void;)
    });
    let structs = spec.structs.iter().map(|item| {
        let mut item = item.item.clone();
        item.vis = syn::parse_quote!(pub);
        for field in &mut item.fields {
            field.vis = syn::parse_quote!(pub);
        }
        quote!(#item)
    });
    quote!(#(#aliases)* #(#handles)* #(#structs)*)
}

fn vendor(spec: &Spec) -> TokenStream {
    let exported = || spec.functions.iter().filter(|f| !f.is_extension_only());
    let fields = exported().map(|function| {
        let name = format_ident!("{}", function.name);
        let prototype = prototype(function);
        quote!(pub #name: Option<#prototype>,)
    });
    let loads = exported().map(|function| {
        let name = format_ident!("{}", function.name);
        let symbol = std::ffi::CString::new(function.name.as_str()).unwrap_or_default();
        let symbol = proc_macro2::Literal::c_string(&symbol);
        quote!(#name: unsafe { library.get(#symbol.to_bytes_with_nul()) }.ok().map(|symbol| *symbol),)
    });
    let file = &spec.library;
    let extensions = extensions(spec);
    let (field, none) = match extensions.is_empty() {
        true => (quote!(), quote!()),
        false => (
            quote! {
                /// Functions of extensions, once it is known whose.
                pub extensions: std::sync::OnceLock<Extensions>,
            },
            quote!(extensions: std::sync::OnceLock::new(),),
        ),
    };
    quote! {
        #extensions

        /// File name of the vendor library.
        pub const LIBRARY: &str = #file;

        /// The vendor library's functions; `None` for those that it does not have.
        pub struct Vendor {
            #(#fields)*
            #field
        }

        impl Vendor {
            /// Looks all functions up.
            ///
            /// # Safety
            ///
            /// The functions of `library` have the prototypes of the spec, and the library stays
            /// loaded as long as they are used.
            pub unsafe fn load(library: &libloading::Library) -> Vendor {
                Vendor { #(#loads)* #none }
            }
        }
    }
}

/// The whole library, where no part of it is written by hand: it has one platform, which is the
/// library itself, on one device, which is this host.
fn library(spec: &Spec) -> TokenStream {
    if !spec.interposed || spec.functions.iter().any(is_by_hand) {
        return quote!();
    }
    let (name, file) = (&spec.name, &spec.library);
    let doc = format!("The host's `{file}`.");
    quote! {
        use std::sync::Arc;
        use weir_runtime::library::{Library, LibraryError, Platform};

        #[doc = #doc]
        pub struct Loaded {
            vendor: Vendor,
            /// Keeps the functions of `vendor` where they are.
            _library: libloading::Library,
        }

        impl ByHand for Loaded {}

        /// Loads it.
        pub fn load() -> Result<Arc<dyn Library>, LibraryError> {
            let library = unsafe { libloading::Library::new(LIBRARY) };
            let library = library.map_err(|source| LibraryError::Load {
                library: LIBRARY.to_owned(),
                source: source.into(),
            })?;
            let vendor = unsafe { Vendor::load(&library) };
            Ok(Arc::new(Loaded { vendor, _library: library }))
        }

        impl Library for Loaded {
            fn api(&self) -> &'static weir_wire::function::Api {
                &super::table::API
            }

            fn platforms(&self) -> Result<Vec<Platform>, LibraryError> {
                Ok(vec![Platform::of_host(#name, LIBRARY)])
            }

            fn make(&self, turn: &mut Turn<'_>) -> Made {
                make(self, &self.vendor, turn)
            }
        }
    }
}

/// The type of a pointer to the C function.
pub(super) fn prototype(function: &Function) -> TokenStream {
    let params = function.params.iter().filter(|p| !p.extra).map(|p| &p.ty);
    let returns = function.returns.as_ref().map(|ty| quote!(-> #ty));
    quote!(unsafe extern "C" fn(#(#params),*) #returns)
}

fn words(function: &Function) -> TokenStream {
    let name = format_ident!("{}", function.name);
    let params = function.params.iter().filter(|p| p.role.words() > 0);
    let params = params.map(|param| {
        let (name, word) = (format_ident!("{}", param.name), param.word);
        quote!(pub const #name: usize = #word;)
    });
    let done = function
        .done
        .map(|word| quote!(pub const done: usize = #word;));
    let new = function.new.map(|new| {
        let word = new.word;
        quote!(pub const new: usize = #word;)
    });
    quote!(pub mod #name { #(#params)* #new #done })
}

/// Whether answers can name objects of this kind, so that their pointers must be remembered.
fn can_be_named(spec: &Spec, kind: usize) -> bool {
    let answers = spec
        .functions
        .iter()
        .flat_map(|f| &f.params)
        .flat_map(|p| match &p.role {
            Role::Output {
                answers: Some(answers),
                ..
            } => answers.cases.iter().map(|(_, answer)| answer).collect(),
            _ => Vec::new(),
        });
    answers.into_iter().any(|answer| match answer {
        Answer::Text => false,
        Answer::Handles(named) => *named == kind,
        Answer::Properties(keys) => keys.iter().any(|(_, named)| *named == kind),
    })
}

fn call(spec: &Spec, function: &Function) -> TokenStream {
    let name = format_ident!("{}", function.name);
    let doc = format!("Makes `{}`.", function.name);
    let unsupported = spec.errors.unsupported;
    let done = function.done.map(|word| quote!(turn.done_at(#word);));
    let vendors = vendors(function);
    let order = order(spec, function);
    let line = order.as_ref().map(|order| order.line);
    let gate = order
        .filter(|_| function.device_time)
        .map(|order| gate(function, &order));
    let (lists, others): (Vec<_>, Vec<_>) =
        function.params.iter().enumerate().partition(|(_, p)| {
            matches!(
                p.role,
                Role::Input {
                    contents: Contents::Strings { .. },
                    ..
                }
            )
        });
    let inputs = lists
        .into_iter()
        .chain(others)
        .map(|(index, param)| input(spec, function, param, line == Some(index)));
    let tight = function
        .params
        .iter()
        .map(|param| tighten(spec, function, param));
    let arguments = function.params.iter().map(|p| format_ident!("{}", p.name));
    let error = match function.failure {
        Failure::Out(_) => quote!(let mut error: i32 = 0;),
        _ => quote!(),
    };
    let outcome = match function.failure {
        Failure::Out(_) => quote!(let made = error == 0 && !result.is_null();),
        // What it returns is no error; only an object that it did not make is one.
        Failure::Beside { .. } if function.new.is_some() => quote! {
            let made = !result.is_null();
            let error: i32 = if made { 0 } else { #unsupported as i32 };
        },
        Failure::Beside { .. } | Failure::Nowhere => {
            quote!(let error: i32 = 0; let made = true;)
        }
        Failure::Return => quote!(let error: i32 = result; let made = error == 0;),
    };
    let outputs = function
        .params
        .iter()
        .map(|param| output(spec, function, param, line));
    // Where no event tells how long the device worked, the call itself is the work.
    let (clock, worked) = match function.device_time && spec.event.is_none() {
        true => (
            quote!(let clock = std::time::Instant::now();),
            quote!(turn.worked(clock.elapsed());),
        ),
        false => (quote!(), quote!()),
    };
    let (whole, told) = texts(function);
    let returned = function.new.map(|new| {
        let (word, kind) = (new.word, new.kind);
        let named = can_be_named(spec, kind);
        quote!(turn.bind(#word, #kind, if made { result } else { core::ptr::null_mut() }, 0, #named);)
    });
    let value = match (function.failure, function.new) {
        (Failure::Out(_) | Failure::Beside { .. }, Some(new)) => {
            let word = new.word;
            quote!(if made { turn.call.word(#word) } else { 0 })
        }
        (Failure::Out(_) | Failure::Nowhere, None) => quote!(0),
        (Failure::Beside { .. }, None) => match function.return_type {
            Type::Nothing => quote!(0),
            Type::Float(4) => quote!(u64::from(result.to_bits())),
            Type::Float(_) => quote!(result.to_bits()),
            _ => quote!(result as u64),
        },
        _ => quote!(u64::from(error as u32)),
    };
    quote! {
        #[doc = #doc]
        #[allow(unused_variables, unused_mut)]
        pub fn #name(vendor: &Vendor, turn: &mut Turn<'_>) -> Made {
            let call = turn.call;
            let session = turn.session;
            #done
            #error
            #(#inputs)*
            #(#tight)*
            let Some(function) = #vendors else {
                return Err(Refused(#unsupported));
            };
            #gate
            #whole
            turn.begin();
            #clock
            let result = unsafe { function(#(#arguments),*) };
            #worked
            #outcome
            #told
            #(#outputs)*
            #returned
            Ok(Answer { value: #value, error })
        }
    }
}

/// Code for a query whose answer may be text that names files: what comes before the call, to ask
/// for the whole text however much of it the client wants, and what comes after it.
fn texts(function: &Function) -> (TokenStream, TokenStream) {
    let text = function.params.iter().find_map(|param| match &param.role {
        Role::Output {
            len: Expression::Leaf(Leaf::Param(len)),
            written: Some(Expression::Leaf(Leaf::Deref(written))),
            answers: Some(answers),
            ..
        } => answers
            .cases
            .iter()
            .any(|(_, answer)| matches!(answer, Answer::Text))
            .then(|| (param, &function.params[*len], &function.params[*written])),
        _ => None,
    });
    let Some((text, size, written)) = text else {
        return (quote!(), quote!());
    };
    let naming = format_ident!("{}_naming", text.name);
    let (text_word, written_word) = (text.word, written.word);
    let whole = [text, size, written].map(|param| {
        let (name, ty) = (format_ident!("{}", param.name), &param.ty);
        (name, quote!(#ty))
    });
    let [(text, text_ty), (size, size_ty), (written, written_ty)] = whole;
    let arguments: Vec<_> = function
        .params
        .iter()
        .map(|p| format_ident!("{}", p.name))
        .collect();
    let before = quote! {
        let is_text = matches!(#naming, Some(Naming::Text));
        let mut whole: usize = 0;
        if is_text {
            let #text: #text_ty = core::ptr::null_mut();
            let #size: #size_ty = 0;
            let #written: #written_ty = &mut whole;
            let error = unsafe { function(#(#arguments),*) };
            if error != 0 {
                return Err(Refused(error.into()));
            }
        }
        let (#text, #size, #written): (#text_ty, #size_ty, #written_ty) = match is_text {
            true => (turn.zeros(whole as u64)?, whole, core::ptr::null_mut()),
            false => (#text, #size, #written),
        };
    };
    let after = quote! {
        let (made, error) = match made && is_text {
            true => match unsafe {
                turn.write_text(#text_word, #written_word, #text.cast(), whole)
            } {
                Ok(()) => (true, error),
                Err(Refused(error)) => (false, error as i32),
            },
            false => (made, error),
        };
    };
    (before, after)
}

/// Code that adds a gate to what the call's work waits for, if it is gated.
fn gate(function: &Function, order: &Order) -> TokenStream {
    let line = format_ident!("{}", function.params[order.line].name);
    let Some(index) = order.waits else {
        return quote!();
    };
    let (list, word) = (&function.params[index], function.params[index].word);
    let Role::Input {
        len: Some(Expression::Leaf(Leaf::Param(count))),
        ..
    } = list.role
    else {
        return quote!();
    };
    let count = &function.params[count];
    let (list_type, count_type) = (&list.ty, &count.ty);
    let (list, count) = (
        format_ident!("{}", list.name),
        format_ident!("{}", count.name),
    );
    quote! {
        let (#count, #list): (#count_type, #list_type) =
            match unsafe { turn.gate(#word, (#count as u32, #list.cast()), #line) }? {
                Some((count, list)) => (count as #count_type, list.cast()),
                None => (#count, #list),
            };
    }
}

/// Code that takes `param` out of the command, into a variable of its name and type.
fn input(spec: &Spec, function: &Function, param: &Param, is_line: bool) -> TokenStream {
    let name = format_ident!("{}", param.name);
    let ty = &param.ty;
    let word = param.word;
    let value = match &param.role {
        Role::Scalar => match &param.passed_as {
            Some(passed) => {
                let value = integer(spec, function, passed);
                quote!(#value as #ty)
            }
            None => scalar_as(param),
        },
        Role::Handle(kind) if is_line => {
            return quote!(let (#name, line_note) = turn.handle_and_note(#word, #kind)?;);
        }
        Role::Handle(kind) => quote!(turn.handle(#word, #kind)?),
        Role::Input { contents, .. } => match contents {
            Contents::Plain if has_pitches(function, &param.name) => {
                let size = spec.element_size(&param.resolved) as usize;
                cast(param, quote!(turn.records(#word, #size, &[])?.cast_const()))
            }
            Contents::Plain => cast(param, quote!(turn.input(#word)?)),
            Contents::Bulk => cast(param, quote!(turn.bulk_input(#word)?)),
            Contents::Records(index) => {
                let size = spec.structs[*index].size as usize;
                let handles = super::table::handles_in(spec, *index);
                cast(
                    param,
                    quote!(turn.records(#word, #size, &[#(#handles),*])?.cast_const()),
                )
            }
            Contents::String => cast(param, quote!(turn.string(#word)?)),
            Contents::Options => cast(param, quote!(turn.options(#word)?)),
            Contents::Handles(kind) => {
                cast(param, quote!(turn.handles(#word, #kind)?.cast_const()))
            }
            Contents::Properties(keys) => {
                let keys = keys.iter().map(|(key, kind)| quote!((#key, #kind)));
                cast(
                    param,
                    quote!(turn.properties(#word, &[#(#keys),*])?.cast_const()),
                )
            }
            Contents::Strings { count, lengths, .. } => {
                let count = number(spec, function, count, 1);
                let lengths = match lengths {
                    Some(index) => format_ident!("{}", function.params[*index].name),
                    None => {
                        return quote!(let #name: #ty = turn.texts(#word, #count)?.cast(););
                    }
                };
                return quote!(
                    let (#name, #lengths) = turn.strings(#word, #count)?;
                    let #name: #ty = #name.cast();
                );
            }
        },
        Role::Output { answers: None, .. } => quote!(turn.output(#word)?.cast()),
        Role::Output {
            answers: Some(answers),
            ..
        } => {
            let naming = format_ident!("{}_naming", param.name);
            let query = scalar_as(&function.params[answers.query]);
            let arms = answers.cases.iter().map(|(key, answer)| match answer {
                Answer::Handles(_) => quote!(#key => Some(Naming::Handles),),
                Answer::Text => quote!(#key => Some(Naming::Text),),
                Answer::Properties(keys) => {
                    let keys = keys.iter().map(|(key, _)| key);
                    quote!(#key => Some(Naming::Properties(&[#(#keys),*])),)
                }
            });
            return quote!(
                let #naming = match u64::from(#query) { #(#arms)* _ => None };
                let #name: #ty = match #naming {
                    Some(_) if !turn.is_null(#word) => turn.zeros(turn.len(#word))?,
                    _ => turn.output(#word)?,
                };
            );
        }
        Role::Error => quote!(&mut error),
        Role::New(new) => {
            let made = format_ident!("{}_made", param.name);
            let wanted = match Some(new.kind) == spec.event {
                true => quote!(true),
                false => quote!(call.word(#word) != 0),
            };
            return quote!(
                let mut #made: *mut c_void = core::ptr::null_mut();
                let #name: #ty = if #wanted { &mut #made } else { core::ptr::null_mut() };
            );
        }
        Role::HandleOrBytes { len, .. } => {
            let len = number(spec, function, len, 1);
            cast(param, quote!(turn.handle_or_bytes(#word, #len)?))
        }
        Role::Lengths => return quote!(), // with the strings that they belong to
        Role::Callback(_) => quote!(None),
        Role::UserData => quote!(core::ptr::null_mut()),
        Role::GuestOnly { len: Some(len) } => {
            let len = number(
                spec,
                function,
                len,
                i128::from(spec.element_size(&param.resolved)),
            );
            cast(param, quote!(turn.zeros(#len)?.cast_const()))
        }
        Role::GuestOnly { len: None } => match param.resolved {
            Type::Pointer { mutable: true, .. } => quote!(core::ptr::null_mut()),
            Type::Pointer { mutable: false, .. } => quote!(core::ptr::null()),
            _ => quote!(0),
        },
        Role::NewList { .. } => quote!(match turn.is_null(#word) {
            true => core::ptr::null_mut(),
            false => turn.zeros(turn.len(#word))?.cast(),
        }),
        Role::Found { .. } => unreachable!("written by hand"),
    };
    quote!(let #name: #ty = #value;)
}

/// Makes a const pointer one of the parameter's type.
fn cast(param: &Param, pointer: TokenStream) -> TokenStream {
    match param.resolved {
        Type::Pointer { mutable: true, .. } => quote!(#pointer.cast_mut().cast()),
        _ => quote!(#pointer.cast()),
    }
}

/// Whether a structure has the pitches of some bulk data among its fields, so that it is written to.
fn has_pitches(function: &Function, name: &str) -> bool {
    let shapes = function.params.iter().filter_map(|p| p.shape.as_ref());
    shapes.flat_map(|shape| &shape.pitches).any(|pitch| {
        matches!(pitch, Expression::Leaf(Leaf::Field(f)) if function.params[f.param].name == name)
    })
}

/// Code that tells the vendor that nothing lies between the rows and slices of shaped data.
fn tighten(spec: &Spec, function: &Function, param: &Param) -> TokenStream {
    let Some(shape) = &param.shape else {
        return quote!();
    };
    let name = format_ident!("{}", param.name);
    let of = |index: usize| {
        let param = &function.params[index];
        (format_ident!("{}", param.name), &param.ty)
    };
    let tight = shape.tight().map(|pitch| number(spec, function, &pitch, 1));
    let pitches = shape
        .pitches
        .iter()
        .zip(tight)
        .map(|(pitch, tight)| match pitch {
            Expression::Leaf(Leaf::Param(index)) => {
                let (pitch, ty) = of(*index);
                quote!(let #pitch: #ty = if #name.is_null() { #pitch } else { #tight as #ty };)
            }
            Expression::Leaf(Leaf::Field(field)) => {
                let (structure, _) = of(field.param);
                let offset = field.offset as usize;
                let ty = integer_type(field.bytes, field.signed);
                quote! {
                    if !#name.is_null() && !#structure.is_null() {
                        let structure = #structure.cast_mut().cast::<u8>();
                        let tight = #tight as #ty;
                        unsafe { structure.add(#offset).cast::<#ty>().write_unaligned(tight) };
                    }
                }
            }
            _ => quote!(),
        });
    let origin = shape.origin.map(|index| {
        let (origin, ty) = of(index);
        quote! {
            let #origin: #ty = match #name.is_null() {
                true => #origin,
                false => const { &[0u64; 3] }.as_ptr().cast(),
            };
        }
    });
    quote!(#(#pitches)* #origin)
}

/// Code for a mathematical integer, of type `i128`; a call for which it has no value is refused.
fn integer(spec: &Spec, function: &Function, expression: &Expression) -> TokenStream {
    let malformed = spec.errors.malformed;
    let value = expression.to_rust(&mut |leaf| leaf_of_call(spec, function, leaf));
    quote! {
        (|call: &Call<'_>, kept: Kept<'_>| -> Option<i128> { Some(#value) })(
            &call,
            &|handle| session.objects.kept(handle),
        )
        .ok_or(Refused(#malformed))?
    }
}

/// Code for a number of bytes, of type `u64`; a call for which it has no value is refused.
fn number(spec: &Spec, function: &Function, expression: &Expression, size: i128) -> TokenStream {
    let malformed = spec.errors.malformed;
    let value = expression.to_rust(&mut |leaf| leaf_of_call(spec, function, leaf));
    let size = proc_macro2::Literal::i128_unsuffixed(size);
    quote! {
        (|call: &Call<'_>, kept: Kept<'_>| -> Option<u64> {
            u64::try_from(i128::checked_mul(#value, #size)?).ok()
        })(&call, &|handle| session.objects.kept(handle))
        .ok_or(Refused(#malformed))?
    }
}

/// Code that puts what the call wrote where the guest finds it.
fn output(spec: &Spec, function: &Function, param: &Param, line: Option<usize>) -> TokenStream {
    let word = param.word;
    let name = format_ident!("{}", param.name);
    match &param.role {
        Role::Output {
            answers: Some(_), ..
        } => {
            let naming = format_ident!("{}_naming", param.name);
            quote!(if let (true, Some(naming @ (Naming::Handles | Naming::Properties(_)))) = (made, #naming) {
                unsafe { turn.write_names(#word, #name.cast(), turn.len(#word), naming) };
            })
        }
        Role::NewList { new, .. } => {
            let kind = new.kind;
            let named = can_be_named(spec, kind);
            // SAFETY of what is generated: there are as many as proposed.
            quote!(unsafe {
                let list = if made { #name.cast() } else { core::ptr::null() };
                turn.bind_list(#word, #kind, list, #named);
            })
        }
        Role::New(new) => {
            let made = format_ident!("{}_made", param.name);
            let kind = new.kind;
            let named = can_be_named(spec, kind);
            let bind = quote! {
                let #made = if made { #made } else { core::ptr::null_mut() };
                turn.bind(#word, #kind, #made, 0, #named);
            };
            let track = match (line, Some(kind) == spec.event) {
                (Some(line), true) => {
                    let line = function.params[line].word;
                    let retain = retain(spec, kind, &made);
                    quote! {
                        if !#made.is_null() {
                            if call.word(#word) != 0 {
                                #retain
                            }
                            turn.track(#made, #line, line_note);
                        }
                    }
                }
                _ => quote!(),
            };
            quote!(#bind #track)
        }
        _ => quote!(),
    }
}

/// Code that takes a reference to the object of `kind` in the variable `object`.
fn retain(spec: &Spec, kind: usize, object: &syn::Ident) -> TokenStream {
    let retains = |f: &&Function| {
        f.retains
            .is_some_and(|index| f.params[index].resolved == Type::Handle(kind))
    };
    match spec.functions.iter().find(retains) {
        Some(function) => {
            let retain = vendors(function);
            quote!(if let Some(retain) = #retain { unsafe { retain(#object) }; })
        }
        None => quote!(),
    }
}

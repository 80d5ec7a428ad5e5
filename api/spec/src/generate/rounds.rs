//! For tests: both sides of an API, with a vendor library that tells what it was called with.
//!
//! What the tests stand on is generated here as well, so that no function can be forgotten: for each
//! one its encoder, called with arguments given as bits, and a function of the vendor's that passes its
//! arguments' bits to `crate::record`.

use proc_macro2::TokenStream;
use quote::{format_ident, quote};

use super::guest::{self, encoded_params, ident};
use super::worker::can_be_generated;
use crate::Spec;
use crate::model::{Carried, Function, Param, Type};

/// Takes all that is written by hand as if it were generated, as far as it can be: what stands between
/// a hand-written part and the wire is generated in any case.
pub fn without_hands(mut spec: Spec) -> Spec {
    for function in &mut spec.functions {
        if let Carried::Command {
            by_hand_guest,
            by_hand_worker,
        } = &mut function.carried
        {
            *by_hand_guest = false;
            *by_hand_worker = false;
        }
        if function.carried == Carried::Local {
            function.carried = Carried::Unsupported(spec.errors.unsupported);
        }
        if matches!(function.carried, Carried::Command { .. }) && !can_be_generated(function) {
            function.carried = Carried::Command {
                by_hand_guest: false,
                by_hand_worker: true,
            };
        }
    }
    spec.interposed = true;
    spec
}

/// Modules `table`, `worker`, `guest` and `rounds` of a spec that is [without
/// hands](without_hands).
///
/// # Panics
///
/// If the spec was not checked.
pub fn generate(spec: &Spec) -> String {
    let module = |name: &str, code: String| format!("pub mod {name} {{\n{code}\n}}\n");
    [
        module("table", super::table::generate(spec)),
        module("worker", super::worker::generate(spec)),
        module("guest", guest::encoders(spec)),
        module("rounds", rounds(spec)),
    ]
    .concat()
}

fn rounds(spec: &Spec) -> String {
    let commands: Vec<&Function> = spec
        .functions
        .iter()
        .filter(|f| matches!(f.carried, Carried::Command { .. }))
        .collect();
    let calls = commands.iter().map(|function| encode(function));
    let by_hand = commands.iter().filter(|f| !can_be_generated(f));
    let by_hand = by_hand.map(|function| {
        let name = format_ident!("{}", function.name);
        let unsupported = spec.errors.unsupported;
        quote! {
            fn #name(&self, _: &Vendor, _: &mut Turn<'_>) -> Made { Err(Refused(#unsupported)) }
        }
    });
    let value = |function: &Function| {
        let name = format_ident!("{}", function.name);
        match function.carried {
            Carried::Command { .. } => quote!(Some(recording::#name)),
            _ => quote!(None),
        }
    };
    let exported = spec.functions.iter().filter(|f| !f.is_extension_only());
    let fields = exported.map(|function| {
        let (name, value) = (format_ident!("{}", function.name), value(function));
        quote!(#name: #value,)
    });
    let extensions = extension_fields(spec, value);
    let recording = commands.iter().map(|function| record(function));
    super::pretty(quote! {
        use std::sync::Arc;
        use std::ffi::{c_char, c_int, c_uchar, c_uint, c_void};
        use super::guest::*;
        use weir_guest::Code;
        use super::worker::Vendor;
        use weir_runtime::library::{Library, LibraryError, Platform, Progress};
        use weir_runtime::turn::{Made, Refused, Turn};

        /// Makes a call with these arguments, one for each that its encoder has.
        pub unsafe fn call(
            number: u16,
            arguments: &[u64],
        ) -> Result<u64, Code> {
            match number {
                #(#calls)*
                _ => panic!("function {number} has no command"),
            }
        }

        /// A library that records what it is called with.
        pub struct Recorded(Vendor);

        /// The library.
        pub fn library() -> Arc<dyn Library> {
            Arc::new(Recorded(Vendor { #(#fields)* #extensions }))
        }

        impl super::worker::ByHand for Recorded {
            #(#by_hand)*
        }

        impl Library for Recorded {
            fn api(&self) -> &'static weir_wire::function::Api {
                &super::table::API
            }

            fn platforms(&self) -> Result<Vec<Platform>, LibraryError> {
                Ok(Vec::new())
            }

            fn make(&self, turn: &mut Turn<'_>) -> Made {
                super::worker::make(self, &self.0, turn)
            }

            unsafe fn progress(&self, _: *mut std::ffi::c_void) -> Progress {
                Progress::Complete { device_ns: 1 }
            }
        }

        mod recording {
            use super::super::worker::*;
            use std::ffi::{c_char, c_int, c_uchar, c_uint, c_void};
            #(#recording)*
        }
    })
}

/// The arm that calls the encoder of `function`.
fn encode(function: &Function) -> TokenStream {
    let (name, number) = (ident(&function.name), function.number);
    let arguments = encoded_params(function)
        .enumerate()
        .map(|(index, param)| from_bits(param, quote!(arguments[#index])));
    let result = match (&function.new, &function.return_type) {
        (Some(_), _) => quote!(value as usize as u64),
        (None, _) if !matches!(function.failure, crate::model::Failure::Beside { .. }) => {
            quote!({
                let () = value;
                0
            })
        }
        (None, Type::Nothing) => quote!({
            let () = value;
            0
        }),
        (None, ty) => bits(ty, &quote!(value)),
    };
    quote! {
        #number => {
            let value = unsafe { encode::#name(#(#arguments),*) }?;
            Ok(#result)
        }
    }
}

/// The vendor's functions of extensions, if there are such; `value` gives that for one.
fn extension_fields(spec: &Spec, value: impl Fn(&Function) -> TokenStream) -> TokenStream {
    let fields: Vec<_> = spec
        .functions
        .iter()
        .filter_map(|function| {
            let (name, value) = (
                format_ident!("{}", function.extension_name()?),
                value(function),
            );
            Some(quote!(#name: #value,))
        })
        .collect();
    match fields.is_empty() {
        true => quote!(),
        false => quote!(extensions: super::worker::Extensions { #(#fields)* }.into(),),
    }
}

/// The function that the vendor has for `function`.
fn record(function: &Function) -> TokenStream {
    let (name, number) = (format_ident!("{}", function.name), function.number);
    let params: Vec<&Param> = function.params.iter().filter(|p| !p.extra).collect();
    let signature = params.iter().map(|param| {
        let (name, ty) = (ident(&param.name), &param.ty);
        quote!(#name: #ty)
    });
    let arguments = params.iter().map(|param| {
        let name = ident(&param.name);
        bits(&param.resolved, &quote!(#name))
    });
    let returns = function.returns.as_ref().map(|ty| quote!(-> #ty));
    let result = match &function.return_type {
        Type::Nothing => quote!(let _ = result;),
        Type::Float(4) => quote!(f32::from_bits(result as u32)),
        Type::Float(_) => quote!(f64::from_bits(result)),
        Type::Int { .. } => quote!(result as _),
        Type::Function => quote!({
            let _ = result;
            None
        }),
        _ => quote!(result as usize as *mut _),
    };
    quote! {
        pub unsafe extern "C" fn #name(#(#signature),*) #returns {
            let result = crate::record(#number, &[#(#arguments),*]);
            #result
        }
    }
}

fn bits(ty: &Type, value: &TokenStream) -> TokenStream {
    match ty {
        Type::Int { bytes, .. } => {
            let unsigned = format_ident!("u{}", 8 * u32::from(*bytes));
            quote!(#value as #unsigned as u64)
        }
        Type::Float(_) => quote!(u64::from(#value.to_bits())),
        Type::Handle(_) | Type::Pointer { .. } => quote!(#value as usize as u64),
        Type::Function => quote!(#value.map_or(0, |function| function as usize as u64)),
        Type::Struct(_) | Type::Void | Type::Nothing => unreachable!("these are not passed"),
    }
}

fn from_bits(param: &Param, bits: TokenStream) -> TokenStream {
    let ty = &param.ty;
    match param.resolved {
        Type::Int { .. } => quote!(#bits as #ty),
        Type::Float(4) => quote!(f32::from_bits(#bits as u32)),
        Type::Float(_) => quote!(f64::from_bits(#bits)),
        Type::Handle(_) | Type::Pointer { .. } => quote!(#bits as usize as #ty),
        Type::Function => quote!(None),
        Type::Struct(_) | Type::Void | Type::Nothing => unreachable!("these are not passed"),
    }
}

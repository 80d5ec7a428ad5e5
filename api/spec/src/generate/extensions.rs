//! The worker's side of extensions: which are carried, and where the vendor has their functions.

use proc_macro2::TokenStream;
use quote::{format_ident, quote};

use super::worker::prototype;
use crate::model::*;

/// The extensions that are carried, and their functions. A loader may well have a symbol for a function
/// of an extension that the vendor lacks, and crash in it: so the vendor is asked for each.
pub(super) fn extensions(spec: &Spec) -> TokenStream {
    let functions: Vec<_> = spec
        .functions
        .iter()
        .filter_map(|function| Some((function, function.extension_name()?)))
        .collect();
    if functions.is_empty() {
        return quote!();
    }
    let carried = &spec.extensions;
    let fields = functions.iter().map(|(function, name)| {
        let (name, prototype) = (format_ident!("{name}"), prototype(function));
        quote!(pub #name: Option<#prototype>,)
    });
    let found = functions.iter().map(|(function, name)| {
        let symbol = std::ffi::CString::new(*name).unwrap_or_default();
        let symbol = proc_macro2::Literal::c_string(&symbol);
        let (name, prototype) = (format_ident!("{name}"), prototype(function));
        let extension = function.extension.as_ref().map(|e| e.name.as_str());
        quote!(#name: unsafe {
            core::mem::transmute::<*mut c_void, Option<#prototype>>(address(#extension, #symbol))
        },)
    });
    quote! {
        /// Names of the extensions that are carried, sorted.
        pub const EXTENSIONS: &[&str] = &[#(#carried),*];

        /// Functions of extensions; `None` for those that the vendor does not have.
        pub struct Extensions {
            #(#fields)*
        }

        impl Extensions {
            /// Asks for the address of each, with the extension that it is of.
            ///
            /// # Safety
            ///
            /// What `address` gives for a function's name is null or a function that has its prototype in the
            /// spec, and is there as long as it is used.
            pub unsafe fn find(address: impl Fn(&str, &core::ffi::CStr) -> *mut c_void) -> Extensions {
                Extensions { #(#found)* }
            }
        }
    }
}

/// Code for the vendor's function, an `Option`. That of an extension goes first: what stands for one of
/// a newer core may be missing in the vendor although the loader has it.
pub(super) fn vendors(function: &Function) -> TokenStream {
    let name = format_ident!("{}", function.name);
    let Some(extension) = function.extension_name() else {
        return quote!(vendor.#name);
    };
    let extension = format_ident!("{extension}");
    let found = quote!(vendor.extensions.get().and_then(|all| all.#extension));
    match function.is_extension_only() {
        true => found,
        false => quote!(#found.or(vendor.#name)),
    }
}

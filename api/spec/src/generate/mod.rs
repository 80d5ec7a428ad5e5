//! What is made of a spec.

pub mod coverage;
mod extensions;
pub mod guest;
pub mod rounds;
pub mod table;
pub mod worker;

use proc_macro2::TokenStream;
use quote::quote;

use crate::Spec;

/// A module with the functions that expressions call.
fn values(spec: &Spec) -> TokenStream {
    let definitions = spec.definitions.iter().map(|d| d.to_rust());
    quote! {
        /// The spec's own functions. `None`: there is no such value.
        #[allow(missing_docs, unused)]
        pub mod values {
            use super::values;
            #(#definitions)*
        }
    }
}

/// Generated code as text, laid out like any other.
///
/// # Panics
///
/// If it is not Rust: a bug in a generator.
pub fn pretty(tokens: TokenStream) -> String {
    match syn::parse2(tokens.clone()) {
        Ok(file) => prettyplease::unparse(&file),
        Err(error) => panic!("generated code does not parse: {error}\n{tokens}"),
    }
}

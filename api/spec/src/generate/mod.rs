//! What is made of a spec.

pub mod coverage;
pub mod guest;
pub mod table;
pub mod worker;

use proc_macro2::TokenStream;

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

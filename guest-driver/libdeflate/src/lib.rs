//! libdeflate for guests: the library's own functions, under its own name, made by the host.
//!
//! All of it is generated from `api/libdeflate/spec.rs`.

#[allow(
    clippy::all,
    clippy::undocumented_unsafe_blocks,
    dead_code,
    missing_docs,
    non_camel_case_types,
    non_snake_case,
    non_upper_case_globals,
    unused_imports,
    unused_parens,
    unused_variables,
    reason = "made of the spec; its safety is that of the C prototypes"
)]
mod generated {
    include!(concat!(env!("OUT_DIR"), "/generated.rs"));
}

//! libdeflate, described for Weir: `spec.rs` beside this crate, and what is made of it.
//!
//! [`table`] is what the mediator knows of libdeflate. With the feature `worker`, `worker` is the
//! other side: the dispatch of commands onto the host's library.

/// What the mediator knows of libdeflate; generated from the spec.
#[allow(
    unused_parens,
    clippy::all,
    reason = "generated expressions are put together from parts"
)]
pub mod table {
    include!(concat!(env!("OUT_DIR"), "/table.rs"));
}

/// The host's library and the dispatch onto it; generated from the spec.
#[cfg(feature = "worker")]
#[allow(
    missing_docs,
    non_camel_case_types,
    non_snake_case,
    non_upper_case_globals,
    dead_code,
    unused_imports,
    unused_parens,
    unused_variables,
    clippy::all,
    clippy::undocumented_unsafe_blocks,
    reason = "the names are C's, and what is generated is explained in its generator"
)]
pub mod worker {
    include!(concat!(env!("OUT_DIR"), "/worker.rs"));
}

/// The spec itself, for the tools that read it.
pub const SPEC: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/spec.rs");

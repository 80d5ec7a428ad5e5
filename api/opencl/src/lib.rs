//! OpenCL, described for Weir: `spec.rs` beside this crate, and what is made of it.
//!
//! [`table`] is what the mediator knows of OpenCL. With the feature `worker`, `worker` is the other
//! side: the dispatch of commands onto a vendor's OpenCL library.

/// What the mediator knows of OpenCL; generated from the spec.
#[allow(
    unused_parens,
    clippy::all,
    reason = "generated expressions are put together from parts"
)]
pub mod table {
    include!(concat!(env!("OUT_DIR"), "/table.rs"));
}

#[cfg(feature = "worker")]
pub mod worker;

/// The spec itself, for the tools that read it.
pub const SPEC: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/spec.rs");

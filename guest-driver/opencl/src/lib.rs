//! Weir's OpenCL driver (ICD) for guests.
//!
//! A loader (`libOpenCL.so`) finds it through `/etc/OpenCL/vendors/weir.icd`, asks it for platforms
//! through `clIcdGetPlatformIDsKHR`, and from then on calls through the dispatch table that every
//! object begins with. Almost all of it is generated from `api/opencl/spec.rs`; what no annotation
//! expresses is in `by_hand`.

mod by_hand;

#[allow(
    clippy::all,
    clippy::undocumented_unsafe_blocks,
    dead_code,
    missing_docs,
    non_camel_case_types,
    non_snake_case,
    non_upper_case_globals,
    unused_parens,
    unused_variables,
    reason = "made of the spec; its safety is that of the C prototypes"
)]
mod generated {
    include!(concat!(env!("OUT_DIR"), "/generated.rs"));
}

//! Every generated encoder and decoder, of every API, against each other and against mutated input.
//!
//! Both sides are generated here once more (`weir_spec::generate::rounds`), with a vendor library that
//! records what it is called with. A *round* goes from the guest's encoder through the mediator's check
//! and the worker's dispatch to that library and back, all in this process.
//!
//! | module | what it does |
//! |---|---|
//! | [`source`] | where random choices come from: bytes, so that a failure is a file |
//! | [`values`] | arguments that fit a function, and what they must have become at the vendor's |
//! | [`mediator`] | stands for mediator and worker |
//! | [`round`] | one call there and back |
//! | [`mutate`] | commands that no guest library sends |

pub mod mediator;
pub mod mutate;
pub mod round;
pub mod source;
pub mod values;

use std::sync::Arc;

use weir_guest::Code;
use weir_guest::connection::Library as Guest;
use weir_runtime::library::Library;
use weir_spec::Spec;
use weir_wire::function::Api;

pub use mediator::record;

/// Calls the encoder of a function with arguments as bits.
///
/// # Safety
/// The arguments must be what the function's prototype says.
pub type Encode = unsafe fn(u16, &[u64]) -> Result<u64, Code>;

/// Both sides of an API.
pub struct Sides {
    /// File of the spec.
    pub spec: &'static str,
    /// What the mediator knows of it.
    pub api: &'static Api,
    /// The guest's encoders.
    pub call: Encode,
    /// The worker's side, on a library that records.
    pub library: fn() -> Arc<dyn Library>,
    /// The guest's connection.
    pub guest: &'static Guest,
}

impl Sides {
    /// The spec, with nothing written by hand. Syntax trees stay on their thread.
    pub fn read(&self) -> &'static Spec {
        let spec = Spec::read(self.spec).unwrap_or_else(|error| panic!("{error}"));
        Box::leak(Box::new(weir_spec::generate::rounds::without_hands(spec)))
    }
}

#[allow(
    missing_docs,
    non_camel_case_types,
    non_snake_case,
    non_upper_case_globals,
    dead_code,
    unused_imports,
    unused_parens,
    unused_variables,
    unreachable_patterns,
    clippy::all,
    clippy::undocumented_unsafe_blocks,
    reason = "generated: the names are C's"
)]
mod apis {
    use super::Sides;

    include!(concat!(env!("OUT_DIR"), "/apis.rs"));
}

pub use apis::APIS;

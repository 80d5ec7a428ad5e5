//! The compiler of annotated API specifications.
//!
//! A spec is the C prototypes of an API, written as Rust declarations with attributes. It is read
//! with [`Spec::read`], which also checks that every pointer is fully described, and is then what
//! [`generate`] makes code from: the mediator's table, the worker's dispatch, the guest library's
//! entry points and the coverage table. `docs/spec.md` describes the vocabulary.

mod attribute;
pub mod build;
mod check;
pub mod expression;
pub mod generate;
mod layout;
pub mod lines;
pub mod model;
mod parse;
mod prototype;
pub mod report;
mod types;

pub use model::Spec;
pub use parse::Error;

//! What every API's side of the worker shares.
//!
//! | module | what it holds |
//! |---|---|
//! | [`library`] | what a vendor library must do for the worker, whatever its API |
//! | [`session`] | one client as its worker sees it: arena, completions, wake-ups |
//! | [`objects`] | handles and the vendor library's pointers that they stand for |
//! | [`turn`] | one call while it is made: inputs taken out of it, outputs put into the arena |
//! | [`files`] | files of the client's that a vendor's compiler looks for |
//! | [`gates`] | what keeps the device from beginning with a command before the VMM lets it |
//! | [`tracker`] | commands that the device has not finished: their time, their "complete" words |
//!
//! The generated dispatch of an API is written in terms of [`turn::Turn`].

pub mod files;
pub mod gates;
pub mod library;
pub mod objects;
pub mod scratch;
pub mod session;
pub mod tracker;
pub mod turn;

//! The user's side of the guest's console.

pub mod escape;
pub mod input;
pub mod terminal;

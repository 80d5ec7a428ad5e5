//! The client's stream of commands, onto threads.

mod leader;

pub(crate) use leader::Dispatcher;

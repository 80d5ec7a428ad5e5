//! `weir up`: one process per machine, watched and answered for.
//!
//! ```text
//! weir ps, stop, console ──control socket──▶ supervisor ──link──▶ weir run --supervised  (a VM)
//!                                                 ▲                    │
//!                                                 └──console, words────┘
//! ```

pub mod control;
pub mod link;
pub mod machines;
pub mod protocol;
pub mod state;

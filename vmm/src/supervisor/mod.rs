//! `weir up`: one process per machine, watched and answered for.
//!
//! ```text
//! weir ps, set, stop, … ──control socket──▶ supervisor ──link──▶ weir run --supervised  (a VM)
//!                                                 ▲                    │
//!                                                 └──console, words────┘
//! ```

pub mod control;
pub mod grants;
pub mod link;
pub mod machines;
pub mod protocol;
pub mod state;

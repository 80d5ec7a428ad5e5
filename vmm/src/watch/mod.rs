//! Watching who uses how much of the accelerators.
//!
//! ```text
//! supervisor ──figures──▶ sample ──▶ history ──▶ rates ──▶ weir top
//!                           │                      │
//!                           ├──▶ record ──file─────┴────▶ plot
//!                           └──▶ exposition ──endpoint──▶ Prometheus
//! ```

pub mod endpoint;
pub mod exposition;
pub mod history;
pub mod plot;
pub mod rates;
pub mod record;
pub mod sample;

//! The tests, by what they are about.

pub mod boot;
pub mod cli;
pub mod faults;
pub mod hostile;
pub mod libdeflate;
pub mod opencl;

//! The format in which accelerator calls travel, and the checks on it.

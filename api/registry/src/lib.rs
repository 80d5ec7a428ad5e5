//! The list of APIs that Weir carries.

//! The compiler of annotated API specifications.

//! The part of a guest library that every API shares: transport, arena, stream.

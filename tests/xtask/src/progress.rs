//! What the user sees while a task works. All of it goes to standard error, so that a command's own
//! output on standard output stays clean.

/// Announces a step that is about to be done.
pub fn step(what: impl std::fmt::Display) {
    eprintln!("==> {what}");
}

/// Adds a detail to the step before.
pub fn detail(what: impl std::fmt::Display) {
    eprintln!("    {what}");
}

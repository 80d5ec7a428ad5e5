//! Which words of a command are whose.

use crate::model::{Carried, Condition, Contents, Failure, Function, Role};

/// Gives every parameter its words, in order; then the returned object, then the reference to the
/// "complete" word of calls whose bulk data is used after they have returned, then the one to an error
/// that the API has no place for. A function without a command has no words.
pub(crate) fn lay_out(function: &mut Function) {
    if !matches!(function.carried, Carried::Command { .. }) {
        return;
    }
    let mut next = 0;
    for param in &mut function.params {
        param.word = next;
        if let Role::New(new) | Role::NewList { new, .. } = &mut param.role {
            new.word = next;
        }
        next += param.role.words();
    }
    if let Some(new) = &mut function.new {
        new.word = next;
        next += 1;
    }
    let has_bulk = function.params.iter().any(|param| {
        matches!(
            param.role,
            Role::Output { bulk: true, .. }
                | Role::Input {
                    contents: Contents::Bulk,
                    ..
                }
        )
    });
    let may_outlast = function.may_be_queued()
        || (function.device_time && !matches!(function.blocks, Condition::Always));
    if has_bulk && may_outlast {
        function.done = Some(next);
        next += 2;
    }
    if let Failure::Beside { word, .. } = &mut function.failure {
        *word = next;
        next += 2;
    }
    function.words = next;
}

//! The coverage table in the docs.

use std::fmt::Write;

use crate::model::*;

/// A Markdown page that says of each function how it is carried, and, by `tested`, what tests it.
pub fn generate(spec: &Spec, tested: &dyn Fn(&str) -> Vec<String>) -> String {
    let count = |wanted: fn(&Function) -> bool| spec.functions.iter().filter(|f| wanted(f)).count();
    let all = spec.functions.len();
    let unsupported = count(|f| matches!(f.carried, Carried::Unsupported(_)));
    let local = count(|f| {
        matches!(
            f.carried,
            Carried::Local | Carried::AtEnd { .. } | Carried::Ignored | Carried::Finds(_)
        )
    });
    let rest = match unsupported {
        0 => "Nothing is left out.".to_owned(),
        1 => "The other one returns what is given here.".to_owned(),
        n => format!("The other {n} return the error given here."),
    };
    let generated = count(|f| {
        f.carried
            == Carried::Command {
                by_hand_guest: false,
                by_hand_worker: false,
            }
    });
    let by_hand = all - unsupported - local - generated;
    let mut page = String::new();
    let _ = write!(
        page,
        "# Coverage: {name}\n\n\
         Made from `api/{name}/spec.rs` by `cargo xtask spec coverage`; a test compares the two.\n\n\
         Of {all} functions, {carried} are carried: {generated} are generated on both sides, {by_hand} \
         have a part written by hand, and {local} are composed of others in the guest library. {rest}\n\n\
         | function | carried | waits | by hand | tested by |\n|---|---|---|---|---|\n",
        name = spec.name,
        carried = all - unsupported,
    );
    for function in &spec.functions {
        let tests: Vec<String> = match function.carried {
            Carried::Unsupported(_) => Vec::new(),
            _ => tested(&function.name),
        };
        let _ = writeln!(page, "{} {} |", row(spec, function), tests.join(", "));
    }
    page
}

fn row(spec: &Spec, function: &Function) -> String {
    let name = &function.name;
    let waits = match &function.queued {
        Condition::Never if !matches!(function.repeats, Condition::Never) => "the first time",
        Condition::Never => "yes",
        Condition::Always => "no",
        Condition::If(_) => "if it blocks",
    };
    match function.carried {
        Carried::Unsupported(error) => {
            format!("| `{name}` | no: {} | | |", error_name(spec, error))
        }
        Carried::Local => format!("| `{name}` | in the guest library | | guest |"),
        Carried::Ignored => format!("| `{name}` | ignored: a hint | | |"),
        Carried::Finds(_) | Carried::AtEnd { .. } => {
            format!("| `{name}` | in the guest library | | |")
        }
        Carried::Command {
            by_hand_guest,
            by_hand_worker,
        } => {
            let by_hand = match (by_hand_guest, by_hand_worker) {
                (false, false) => "",
                (true, false) => "guest",
                (false, true) => "worker",
                (true, true) => "guest, worker",
            };
            let waits = match function.cached {
                Condition::Always => "the first time",
                Condition::If(_) => "the first time, for most",
                Condition::Never => waits,
            };
            format!("| `{name}` | yes | {waits} | {by_hand} |")
        }
    }
}

/// Name of the constant that an error has, or its number.
fn error_name(spec: &Spec, error: i64) -> String {
    let is_error = |c: &&Constant| c.value == i128::from(error) && error != 0;
    match spec.constants.iter().find(is_error) {
        Some(constant) => format!("`{}`", constant.name),
        None => error.to_string(),
    }
}

//! `weir set`: changing what a tenant may use of an accelerator, while it runs.

use clap::Args;

use super::Failure;
use super::client::{Supervisor, Where};
use crate::supervisor::protocol::{FromSupervisor, ToSupervisor};

/// Arguments of `weir set`.
#[derive(Debug, Args)]
#[command(after_help = "\
The keys are those of a grant in the configuration: share, cap, memory, … `none` takes a key back to
what it is where nobody sets it. Either all keys are changed or none. The change holds until `weir up`
ends; the file stays as it is.

A program that has asked for the size of the device's memory before is not told of a new one. What a
tenant holds beyond a smaller memory it keeps, and gets no more until it holds less.

Examples:
  weir set alice share=5
  weir set alice.gpu0 share=5 cap=40% memory=3GiB
  weir set bob.gpu0 cap=none")]
pub struct SetArgs {
    #[command(flatten)]
    place: Where,
    /// The tenant and its accelerator; one that has only one accelerator need not name it
    #[arg(value_name = "TENANT[.ACCELERATOR]")]
    who: String,
    /// What to change
    #[arg(value_name = "KEY=VALUE", required = true, value_parser = assignment)]
    changes: Vec<(String, String)>,
}

fn assignment(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.trim().is_empty() => {
            Ok((key.trim().into(), value.trim().into()))
        }
        _ => Err("write KEY=VALUE, such as share=5".into()),
    }
}

/// Changes a grant and says from what to what.
pub(super) fn set(args: &SetArgs) -> Result<u8, Failure> {
    let (tenant, accelerator) = match args.who.split_once('.') {
        Some((tenant, accelerator)) => (tenant, Some(accelerator)),
        None => (args.who.as_str(), None),
    };
    let answer = Supervisor::connect(&args.place)?.ask(&ToSupervisor::Set {
        tenant: tenant.into(),
        accelerator: accelerator.map(Into::into),
        changes: args.changes.clone(),
    })?;
    let FromSupervisor::Changed {
        accelerator,
        values,
        notes,
    } = answer
    else {
        return Err(Failure::usage_text("`weir up` is of another version"));
    };
    for (key, before, now) in values {
        println!("{tenant}.{accelerator}: {key} {before} -> {now}");
    }
    for note in notes {
        eprintln!("weir: {note}");
    }
    Ok(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn assignments() {
        let pair = |key: &str, value: &str| Ok((key.to_owned(), value.to_owned()));
        assert_eq!(assignment("share=5"), pair("share", "5"));
        assert_eq!(assignment(" cap = 40% "), pair("cap", "40%"));
        assert_eq!(assignment("memory="), pair("memory", ""));
        for wrong in ["share", "=5", ""] {
            assert!(assignment(wrong).is_err(), "{wrong}");
        }
    }
}

//! clinfo: every field is a test, and its value must be the same.

use std::collections::BTreeMap;

use anyhow::{Context, Result};

use super::Tools;
use crate::commands::conformance::outcome::{Outcome, Verdict};
use crate::commands::conformance::side::{Side, words};

/// What may differ, and why.
#[derive(Debug)]
pub struct Masks(BTreeMap<String, String>);

impl Masks {
    /// Reads lines of `NAME reason`, without empty ones and those that begin with `#`.
    ///
    /// # Errors
    /// When a name has no reason.
    pub fn parse(text: &str) -> Result<Self> {
        let lines = text.lines().map(str::trim);
        let lines = lines.filter(|line| !line.is_empty() && !line.starts_with('#'));
        let masks = lines.map(|line| {
            let (name, why) = line
                .split_once(char::is_whitespace)
                .with_context(|| format!("`{line}` does not say why it may differ"))?;
            Ok((name.to_owned(), why.trim().to_owned()))
        });
        masks.collect::<Result<_>>().map(Self)
    }

    fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }
}

/// Runs it and takes its output apart.
///
/// # Errors
/// When it cannot be started, or the masks are wrong.
pub fn run(tools: &Tools, side: &Side) -> Result<Outcome> {
    let masks = std::fs::read_to_string(&tools.masks)
        .with_context(|| format!("reading {}", tools.masks.display()))?;
    let masks = Masks::parse(&masks)?;
    let ran = side.run("clinfo", &words(["clinfo", "--raw"]), &[])?;
    let mut outcome = read(&ran.stdout, &masks);
    outcome.verdict("status", Verdict::of(ran.succeeded));
    Ok(outcome)
}

/// Takes lines of `[PLATFORM/DEVICE]  NAME  VALUE` apart. Of a value that is a list, each entry is a test.
fn read(text: &str, masks: &Masks) -> Outcome {
    let mut outcome = Outcome::default();
    for line in text.lines() {
        let (section, rest) = match line.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            // The platform's short name is the driver's, and differs.
            Some((name, rest)) if name.ends_with("/*") => ("platform/", rest),
            Some((_, rest)) => ("device/", rest),
            None => ("", line),
        };
        let rest = rest.trim();
        let (name, value) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
        if name.is_empty() || masks.has(name) {
            continue;
        }
        let test = format!("{section}{name}");
        match entries(name, value) {
            Some(entries) => {
                // `NAME:VERSION`
                let bare = |entry: &str| entry.split(':').next().unwrap_or(entry).to_owned();
                for entry in entries.filter(|entry| !masks.has(&bare(entry))) {
                    outcome.verdict(format!("{test} {entry}"), Verdict::Pass);
                }
            }
            None => outcome.output(test, true, value.trim()),
        }
    }
    outcome
}

/// The entries of a value that is a list.
fn entries<'a>(name: &str, value: &'a str) -> Option<Box<dyn Iterator<Item = &'a str> + 'a>> {
    if name.contains("EXTENSIONS") {
        return Some(Box::new(value.split_whitespace()));
    }
    // One flag alone is a list, too.
    let flags = value.trim().starts_with("CL_").then_some(" | ");
    let separator = flags.or_else(|| value.contains(';').then_some(";"))?;
    Some(Box::new(value.split(separator).map(str::trim)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_lists_and_masks() {
        let masks =
            Masks::parse("# why\nCL_DEVICE_MEM the quota\ncl_x absent\nCL_TWO no\n").unwrap();
        let text = "\
#PLATFORMS                                        1
[POCL/*]  CL_PLATFORM_NAME                          Portable Computing
[POCL/0]    CL_DEVICE_MEM                           123
[POCL/0]    CL_DEVICE_EXTENSIONS_WITH_VERSION       cl_a:0x1 cl_x:0x1
[POCL/0]    CL_DEVICE_FLAGS                         CL_ONE | CL_TWO
";
        let outcome = read(text, &masks);
        let names: Vec<_> = outcome.tests.keys().map(String::as_str).collect();
        assert_eq!(
            names,
            [
                "#PLATFORMS",
                "device/CL_DEVICE_EXTENSIONS_WITH_VERSION cl_a:0x1",
                "device/CL_DEVICE_FLAGS CL_ONE",
                "platform/CL_PLATFORM_NAME"
            ]
        );
        let output = outcome.tests["platform/CL_PLATFORM_NAME"].output.as_deref();
        assert_eq!(output, Some("Portable Computing"));
    }

    #[test]
    fn a_mask_says_why() {
        assert!(Masks::parse("CL_DEVICE_NAME").is_err());
    }
}

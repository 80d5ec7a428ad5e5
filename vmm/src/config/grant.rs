//! What a tenant may use of an accelerator, as it is written: in a configuration, or to `weir set`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use toml::de::DeTable;

use super::reader::{ConfigError, Source, Table};
use super::{Definition, GRANT_KEYS, grant};
use crate::spec::AcceleratorSpec;

/// The word that takes a key back to what it is where nobody sets it.
pub const NONE: &str = "none";

/// The keys of a grant that are set, each with its value as TOML.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GrantText(BTreeMap<String, String>);

impl GrantText {
    /// What stands in `table` of `source`.
    pub(super) fn read(source: &Source, table: &DeTable<'_>) -> Self {
        let text = |(key, value): (&toml::Spanned<_>, &toml::Spanned<_>)| {
            let key: &std::borrow::Cow<'_, str> = key.get_ref();
            (key.to_string(), source.text[value.span()].to_owned())
        };
        Self(table.iter().map(text).collect())
    }

    /// The value of `key` as people write it, or [`NONE`].
    pub fn value(&self, key: &str) -> &str {
        self.0
            .get(key)
            .map_or(NONE, |value| value.trim_matches('"'))
    }

    /// Sets `key` to what somebody wrote on a command line, with `now` as the grant that the whole is
    /// written for. Returns what the grant is then.
    ///
    /// # Errors
    /// A sentence that says what is wrong, and what would be right.
    pub fn set(
        &mut self,
        key: &str,
        value: &str,
        now: &AcceleratorSpec,
    ) -> Result<AcceleratorSpec, String> {
        // What stands in no key needs no escaping.
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
        let key = &key.replace(|c: char| !plain(c), "?");
        let mut changed = self.clone();
        if value == NONE {
            changed.0.remove(key.as_str());
            // The key must be one that there is.
            Self([(key.to_owned(), "0".to_owned())].into()).check_keys()?;
        } else {
            changed.0.insert(key.into(), bare(value));
        }
        let (changed, spec) = match changed.parse(now) {
            Ok(spec) => (changed, spec),
            // A number where a text is wanted. What is wrong with the text is what helps.
            Err(_) => {
                let quoted = toml::Value::String(value.into()).to_string();
                changed.0.insert(key.into(), quoted);
                let spec = changed.parse(now)?;
                (changed, spec)
            }
        };
        *self = changed;
        Ok(spec)
    }

    fn source(&self) -> Source {
        let line = |(key, value): (&String, &String)| format!("\"{key}\" = {value}\n");
        Source {
            file: "weir set".into(),
            text: self.0.iter().map(line).collect(),
        }
    }

    fn read_with<T>(
        &self,
        read: impl FnOnce(&Source, &Table<'_>) -> Result<T, ConfigError>,
    ) -> Result<T, String> {
        let source = self.source();
        let document = DeTable::parse(&source.text).map_err(|error| error.message().to_owned())?;
        let title = "a grant".to_owned();
        let table = Table::new(&source, title, 0..0, document.get_ref(), &GRANT_KEYS);
        table
            .and_then(|table| read(&source, &table))
            .map_err(|error| error.message)
    }

    fn check_keys(&self) -> Result<(), String> {
        self.read_with(|_, _| Ok(()))
    }

    /// The grant of the accelerator that `now` is of, with what is written here.
    fn parse(&self, now: &AcceleratorSpec) -> Result<AcceleratorSpec, String> {
        let definition = Definition {
            api: now.api.clone(),
            platform: now.platform.clone(),
            device: now.device,
            policy: now.policy,
        };
        self.read_with(|_, table| grant(table, &now.name, &definition))
    }
}

/// `value` as TOML: numbers and truth values as they are, everything else as text.
fn bare(value: &str) -> String {
    let number = !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit());
    match value {
        "true" | "false" => value.into(),
        // Not more digits than a number of TOML has.
        _ if number && value.len() < 19 => match value.trim_start_matches('0') {
            "" => "0".into(),
            digits => digits.into(),
        },
        _ => toml::Value::String(value.into()).to_string(),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    fn spec() -> AcceleratorSpec {
        GrantText::default()
            .parse(&AcceleratorSpec {
                name: "gpu0".into(),
                api: "opencl".into(),
                ..Default::default()
            })
            .unwrap()
    }

    #[test]
    fn every_key_can_be_set_and_taken_back() {
        let (mut text, before) = (GrantText::default(), spec());
        text.set("share", "5", &before).unwrap();
        text.set("cap", "40%", &before).unwrap();
        text.set("memory", "3GiB", &before).unwrap();
        text.set("calls_per_second", "1000", &before).unwrap();
        let after = text.set("timeout", "250ms", &before).unwrap();
        assert_eq!((after.share, after.cap), (5, Some(40)));
        assert_eq!(after.memory, Some(3 << 30));
        assert_eq!(after.calls_per_second, Some(1000));
        assert_eq!(after.timeout, Some(Duration::from_millis(250)));
        assert_eq!((text.value("cap"), text.value("share")), ("40%", "5"));
        for key in GRANT_KEYS {
            text.set(key, NONE, &after).unwrap();
            assert_eq!(text.value(key), NONE);
        }
        assert_eq!(text, GrantText::default());
        assert_eq!(text.set("share", "1", &after).unwrap(), before);
    }

    #[test]
    fn what_is_wrong_is_refused_with_what_would_be_right() {
        let (mut text, spec) = (GrantText::default(), spec());
        text.set("share", "5", &spec).unwrap();
        let before = text.clone();
        for (key, value, hint) in [
            ("shar", "5", "did you mean `share`?"),
            ("shar", "none", "did you mean `share`?"),
            ("share", "0", "whole number from 1"),
            ("share", "-1", "whole number from 1"),
            ("share", "lots", "whole number from 1"),
            ("cap", "40", "from \"1%\" to \"100%\""),
            ("cap", "140%", "from \"1%\" to \"100%\""),
            ("memory", "3", "KiB, MiB, GiB or TiB"),
            ("memory", "0MiB", "leave the key out"),
            ("timeout", "", "such as \"10s\""),
            ("timeout", "soon", "such as \"10s\""),
            ("a\"b\n", "1", "knows no key"),
        ] {
            let error = text.set(key, value, &spec).expect_err(key);
            assert!(error.contains(hint), "{key}={value}: {error}");
        }
        assert_eq!(text, before);
    }

    proptest! {
        #[test]
        fn no_text_is_too_odd(key in ".*", value in ".*") {
            let _ = GrantText::default().set(&key, &value, &spec());
            let _ = GrantText::default().set("memory", &value, &spec());
        }
    }
}

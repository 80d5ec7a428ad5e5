//! Reading TOML tables key by key, such that every complaint knows its line.

use std::fmt;
use std::ops::Range;
use std::path::PathBuf;

use thiserror::Error;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// What is wrong with a configuration, where, and what would be right.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub struct ConfigError {
    /// The file.
    pub file: PathBuf,
    /// The line, from one, where there is one.
    pub line: Option<usize>,
    /// A sentence.
    pub message: String,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.file.display())?;
        if let Some(line) = self.line {
            write!(f, "{line}:")?;
        }
        write!(f, " {}", self.message)
    }
}

/// The text of a configuration file.
pub struct Source {
    /// Where it came from.
    pub file: PathBuf,
    /// What it says.
    pub text: String,
}

impl Source {
    /// The complaint `message` about what stands at `span`.
    pub fn error(&self, span: Range<usize>, message: impl Into<String>) -> ConfigError {
        let before = self.text.as_bytes().iter().take(span.start);
        ConfigError {
            file: self.file.clone(),
            line: Some(1 + before.filter(|byte| **byte == b'\n').count()),
            message: message.into(),
        }
    }
}

/// A value with its place.
pub type Value<'a> = &'a Spanned<DeValue<'a>>;

/// A table that is being read.
pub struct Table<'a> {
    source: &'a Source,
    /// How to call it in a message, such as `[vm.alice]`.
    title: String,
    span: Range<usize>,
    table: &'a DeTable<'a>,
}

impl<'a> Table<'a> {
    /// The table `table`, all of whose keys must be among `known`.
    pub fn new(
        source: &'a Source,
        title: String,
        span: Range<usize>,
        table: &'a DeTable<'a>,
        known: &[&str],
    ) -> Result<Self, ConfigError> {
        for (key, _) in table {
            let name = key.get_ref();
            if !known.contains(&name.as_ref()) {
                let message = format!(
                    "{title} knows no key `{name}`{}; it may have {}",
                    suggestion(name, known),
                    list(known)
                );
                return Err(source.error(key.span(), message));
            }
        }
        Ok(Self {
            source,
            title,
            span,
            table,
        })
    }

    /// The complaint that the table itself is wrong.
    pub fn error(&self, message: impl Into<String>) -> ConfigError {
        self.source.error(self.span.clone(), message)
    }

    /// What stands under `key`.
    pub fn get(&self, key: &str) -> Option<Value<'a>> {
        self.table.get(key)
    }

    fn required(&self, key: &str, example: &str) -> Result<Value<'a>, ConfigError> {
        self.get(key).ok_or_else(|| {
            self.error(format!(
                "{} lacks `{key}`; write {key} = {example}",
                self.title
            ))
        })
    }

    /// The string under `key`, which must be there.
    pub fn string(&self, key: &str, example: &str) -> Result<&'a str, ConfigError> {
        let value = self.required(key, example)?;
        self.as_string(key, value, example)
    }

    /// The string under `key`, if there is one.
    pub fn optional_string(
        &self,
        key: &str,
        example: &str,
    ) -> Result<Option<&'a str>, ConfigError> {
        self.get(key)
            .map(|value| self.as_string(key, value, example))
            .transpose()
    }

    fn as_string(
        &self,
        key: &str,
        value: Value<'a>,
        example: &str,
    ) -> Result<&'a str, ConfigError> {
        value.get_ref().as_str().ok_or_else(|| {
            let message = format!("`{key}` is no text in quotes; write {key} = {example}");
            self.source.error(value.span(), message)
        })
    }

    /// The text under `key` as `parse` reads it, if there is any.
    pub fn parsed<T>(
        &self,
        key: &str,
        example: &str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Result<Option<T>, ConfigError> {
        let Some(text) = self.optional_string(key, example)? else {
            return Ok(None);
        };
        let complain = |message| self.error_at(key, format!("`{key}`: {message}"));
        parse(text).map(Some).map_err(complain)
    }

    /// The whole number under `key`, if there is one, which must be in `range`.
    pub fn number(
        &self,
        key: &str,
        range: std::ops::RangeInclusive<u64>,
    ) -> Result<Option<u64>, ConfigError> {
        let Some(value) = self.get(key) else {
            return Ok(None);
        };
        let number = value
            .get_ref()
            .as_integer()
            .and_then(|integer| u64::from_str_radix(integer.as_str(), integer.radix()).ok());
        match number.filter(|number| range.contains(number)) {
            Some(number) => Ok(Some(number)),
            None => {
                let (low, high) = range.into_inner();
                let limits = match high {
                    u64::MAX => format!("from {low}"),
                    high => format!("from {low} to {high}"),
                };
                let given = &self.source.text[value.span()];
                let message = format!("`{key}` is {given}, and must be a whole number {limits}");
                Err(self.source.error(value.span(), message))
            }
        }
    }

    /// The truth value under `key`, if there is one.
    pub fn boolean(&self, key: &str) -> Result<Option<bool>, ConfigError> {
        let Some(value) = self.get(key) else {
            return Ok(None);
        };
        value.get_ref().as_bool().map(Some).ok_or_else(|| {
            self.source
                .error(value.span(), format!("`{key}` must be true or false"))
        })
    }

    /// The tables in the array under `key`, each with the keys `known`.
    pub fn tables(
        &self,
        key: &str,
        known: &[&str],
        example: &str,
    ) -> Result<Vec<Self>, ConfigError> {
        let Some(value) = self.get(key) else {
            return Ok(Vec::new());
        };
        let wrong = |span| {
            let message = format!("`{key}` must be a list of tables; write {key} = {example}");
            self.source.error(span, message)
        };
        let array = value
            .get_ref()
            .as_array()
            .ok_or_else(|| wrong(value.span()))?;
        let read = |item: &'a Spanned<DeValue<'a>>| {
            let table = item
                .get_ref()
                .as_table()
                .ok_or_else(|| wrong(item.span()))?;
            let title = format!("a table of `{key}`");
            Table::new(self.source, title, item.span(), table, known)
        };
        array.iter().map(read).collect()
    }

    /// The named tables under `key`, in the order of the file.
    pub fn named(&self, key: &str) -> Result<Vec<Named<'a>>, ConfigError> {
        let Some(value) = self.get(key) else {
            return Ok(Vec::new());
        };
        let wrong = |span, name: &str| {
            let message = format!("`{key}{name}` must be a table of settings");
            self.source.error(span, message)
        };
        let tables = value
            .get_ref()
            .as_table()
            .ok_or_else(|| wrong(value.span(), ""))?;
        let mut named = tables
            .iter()
            .map(|(name, value)| {
                let dotted = format!(".{}", name.get_ref());
                let table = value
                    .get_ref()
                    .as_table()
                    .ok_or_else(|| wrong(value.span(), &dotted))?;
                Ok(Named {
                    name: name.get_ref(),
                    span: name.span(),
                    table,
                })
            })
            .collect::<Result<Vec<_>, _>>()?;
        named.sort_by_key(|named| named.span.start);
        Ok(named)
    }

    /// The complaint that what stands under `key` is wrong.
    pub fn error_at(&self, key: &str, message: impl Into<String>) -> ConfigError {
        let span = self
            .get(key)
            .map_or(self.span.clone(), |value| value.span());
        self.source.error(span, message)
    }
}

/// A table with the name under which it stands.
pub struct Named<'a> {
    /// Its name.
    pub name: &'a str,
    /// Where the name stands.
    pub span: Range<usize>,
    /// What is in it.
    pub table: &'a DeTable<'a>,
}

/// " (did you mean `x`?)" if one of `known` is close to `name`.
fn suggestion(name: &str, known: &[&str]) -> String {
    known
        .iter()
        .map(|candidate| (distance(name, candidate), candidate))
        .min()
        .filter(|(distance, candidate)| *distance <= 2 && *distance < candidate.len())
        .map_or_else(String::new, |(_, candidate)| {
            format!(" (did you mean `{candidate}`?)")
        })
}

/// Letters to insert, remove or replace to come from `a` to `b`.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, y) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

/// "`a`, `b` and `c`".
pub fn list(names: &[&str]) -> String {
    let quoted: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    match quoted.split_last() {
        None => "none".into(),
        Some((only, [])) => only.clone(),
        Some((last, others)) => format!("{} and {last}", others.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn close_names_are_suggested() {
        let known = ["memory", "cpus", "kernel"];
        assert_eq!(suggestion("memmory", &known), " (did you mean `memory`?)");
        assert_eq!(suggestion("cpu", &known), " (did you mean `cpus`?)");
        assert_eq!(suggestion("colour", &known), "");
        assert_eq!(distance("kitten", "sitting"), 3);
    }
}

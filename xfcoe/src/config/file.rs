//! TOML files, and errors in them said in the operator's words.

use serde::de::{DeserializeOwned, IntoDeserializer};
use std::fmt::{self, Write as _};
use std::io;
use std::path::{Path, PathBuf};

/// What is wrong with a configuration file.
#[derive(Debug)]
pub enum ConfigError {
    /// It can't be read.
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        cause: io::Error,
    },
    /// Something in it is wrong.
    Wrong {
        /// The file.
        path: PathBuf,
        /// Its line, from 1 on; `None` if the file as a whole is meant.
        line: Option<usize>,
        /// What is wrong, and what would be right.
        what: String,
    },
}

impl std::error::Error for ConfigError {}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable { path, cause } => write!(f, "cannot read {}: {cause}", path.display()),
            Self::Wrong { path, line: Some(line), what } => write!(f, "{}:{line}: {what}", path.display()),
            Self::Wrong { path, line: None, what } => write!(f, "{}: {what}", path.display()),
        }
    }
}

/// Reads a file, as [`parse`] does its text.
///
/// # Errors
/// If the file can't be read, or anything in it is wrong.
pub fn load<T: DeserializeOwned>(
    path: &Path,
    check: impl FnOnce(&T) -> Result<(), (usize, String)>,
) -> Result<T, ConfigError> {
    let text = std::fs::read_to_string(path)
        .map_err(|cause| ConfigError::Unreadable { path: path.into(), cause })?;
    parse(path, &text, check)
}

/// Parses `text` as the file `path`. `check` looks for what no single key shows and tells the offset in the text,
/// 0 for all of it, and what is wrong there.
///
/// # Errors
/// If anything in the text is wrong.
pub fn parse<T: DeserializeOwned>(
    path: &Path,
    text: &str,
    check: impl FnOnce(&T) -> Result<(), (usize, String)>,
) -> Result<T, ConfigError> {
    let line_of = |offset: usize| text.as_bytes()[..offset].iter().filter(|&&byte| byte == b'\n').count() + 1;
    let wrong = |line, what| ConfigError::Wrong { path: path.into(), line, what };
    let config = toml::from_str(text).map_err(|error| {
        wrong(error.span().map(|span| line_of(span.start)), in_plain_words(error.message()))
    })?;
    check(&config).map_err(|(offset, what)| wrong((offset > 0).then(|| line_of(offset)), what))?;
    Ok(config)
}

/// The value that a file would call so, for the command line.
///
/// # Errors
/// What would be right.
pub(crate) fn by_name<T: DeserializeOwned>(name: &str) -> Result<T, String> {
    T::deserialize(name.into_deserializer())
        .map_err(|error: serde::de::value::Error| in_plain_words(&error.to_string()))
}

/// Says serde's messages as an operator would, with the nearest right word. What isn't known stays as it is.
fn in_plain_words(message: &str) -> String {
    if let Some(rest) = message.strip_prefix("unknown field ") {
        return unknown("key", "Keys", rest);
    }
    if let Some(rest) = message.strip_prefix("unknown variant ") {
        return unknown("value", "Values", rest);
    }
    if let Some(field) = message.strip_prefix("missing field ") {
        return format!("the key {field} is missing here");
    }
    let found = message.strip_prefix("invalid type: ").or_else(|| message.strip_prefix("invalid value: "));
    if let Some((found, expected)) = found.and_then(|rest| rest.split_once(", expected ")) {
        return format!("expected {}, found {found}", plain_type(expected));
    }
    message.lines().collect::<Vec<_>>().join(", ")
}

/// `rest` is serde's "`wrong`, expected one of `right`, `right`".
fn unknown(what: &str, whats: &str, rest: &str) -> String {
    let mut words = rest.split('`').skip(1).step_by(2);
    let wrong = words.next().unwrap_or_default();
    let right: Vec<_> = words.collect();
    let mut said = format!("unknown {what} `{wrong}`");
    match nearest(wrong, &right) {
        Some(meant) => _ = write!(said, ", did you mean `{meant}`? "),
        None => said.push_str(". "),
    }
    _ = write!(said, "{whats} here: {}", right.join(", "));
    said
}

/// The word that was meant, if it is within a typing error for each three letters.
fn nearest<'a>(wrong: &str, right: &[&'a str]) -> Option<&'a str> {
    let (distance, meant) =
        right.iter().map(|&word| (strsim::osa_distance(wrong, word), word)).min_by_key(|(d, _)| *d)?;
    (distance <= wrong.len().div_ceil(3)).then_some(meant)
}

fn plain_type(expected: &str) -> &str {
    match expected {
        "u8" => "a whole number from 0 to 255",
        "u16" => "a whole number from 0 to 65535",
        "u32" | "u64" | "usize" => "a whole number from 0 on",
        "a string" => "a text in quotes",
        "a boolean" => "true or false",
        other => other,
    }
}

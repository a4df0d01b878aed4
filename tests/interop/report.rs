//! What a scenario came to, for people and for machines.

use crate::image::Kernel;
use crate::scenarios::Scenario;
use serde_json::{Value, json};
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The longest name of a scenario.
pub(crate) const NAME_LEN: usize = 13;

/// Figures worth seeing, in the order in which they were added.
#[derive(Clone, PartialEq, Debug, Default)]
pub(crate) struct Figures(Vec<Figure>);

#[derive(Clone, PartialEq, Debug)]
struct Figure {
    name: String,
    value: f64,
    unit: &'static str,
}

impl Figures {
    /// Adds one: "disk there after", 6.9, "s".
    pub(crate) fn add(&mut self, name: impl Into<String>, value: f64, unit: &'static str) {
        self.0.push(Figure { name: name.into(), value, unit });
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let figure = |Figure { name, value, unit }: &Figure| {
            let precision = usize::from(value.fract() != 0.0);
            format!("{name} {value:.precision$} {unit}").trim_end().to_owned()
        };
        f.write_str(&self.0.iter().map(figure).collect::<Vec<_>>().join(", "))
    }
}

impl Scenario {
    /// The same for machines.
    pub(crate) fn to_json(&self) -> Value {
        json!({ "scenario": self.name, "quick": self.quick, "shows": self.shows })
    }
}

/// As it is listed.
impl fmt::Display for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, quick, shows, .. } = self;
        write!(f, "{name:<NAME_LEN$} {:<5} {shows}", if *quick { "quick" } else { "" })
    }
}

/// A scenario that was run.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) scenario: &'static Scenario,
    pub(crate) kernel: Kernel,
    pub(crate) took: Duration,
    pub(crate) result: anyhow::Result<Figures>,
    /// Console, commands and captures.
    pub(crate) folder: PathBuf,
}

impl Outcome {
    /// The same for machines.
    pub(crate) fn to_json(&self) -> Value {
        let mut object = json!({
            "scenario": self.scenario.name,
            "kernel": self.kernel.to_string(),
            "ok": self.result.is_ok(),
            "seconds": self.took.as_secs_f64(),
            "folder": self.folder,
        });
        match &self.result {
            Ok(Figures(figures)) => {
                let figure = |Figure { name, value, unit }: &Figure| json!({ "name": name, "value": value, "unit": unit });
                object["figures"] = figures.iter().map(figure).collect();
            }
            Err(error) => object["error"] = format!("{error:#}").into(),
        }
        object
    }
}

/// One line, or more for a failure.
impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { scenario: Scenario { name, .. }, kernel, took, result, folder } = self;
        let took = took.as_secs_f64();
        match result {
            Ok(figures) => write!(f, "{name:<NAME_LEN$} {kernel:<5} ok     {took:>6.1} s  {figures}"),
            Err(error) => {
                writeln!(f, "{name:<NAME_LEN$} {kernel:<5} FAILED {took:>6.1} s  {error:#}")?;
                write!(f, "    console, commands and captures: {}", relative(folder).display())
            }
        }
    }
}

/// The path as seen from here, if it is below.
fn relative(path: &Path) -> &Path {
    let here = std::env::current_dir().unwrap_or_default();
    path.strip_prefix(here).unwrap_or(path)
}

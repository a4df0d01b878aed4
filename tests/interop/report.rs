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
pub(crate) struct Figures {
    single: Vec<Figure>,
    compared: Vec<Compared>,
}

#[derive(Clone, PartialEq, Debug)]
struct Figure {
    name: String,
    value: f64,
    unit: &'static str,
}

/// The same of us and of Linux.
#[derive(Clone, PartialEq, Debug)]
struct Compared {
    name: &'static str,
    unit: &'static str,
    ours: f64,
    linuxs: f64,
}

impl Compared {
    fn ratio(&self) -> f64 {
        self.ours / self.linuxs
    }
}

impl Figures {
    /// Adds one: "disk there after", 6.9, "s".
    pub(crate) fn add(&mut self, name: impl Into<String>, value: f64, unit: &'static str) {
        self.single.push(Figure { name: name.into(), value, unit });
    }

    /// Adds one of us beside that of Linux: "4 KiB random reads", "IOPS", 17158, 4624.
    pub(crate) fn compare(&mut self, name: &'static str, unit: &'static str, ours: f64, linuxs: f64) {
        self.compared.push(Compared { name, unit, ours, linuxs });
    }

    /// The same for machines: what is single, and what is compared.
    fn to_json(&self) -> (Value, Value) {
        let single =
            |Figure { name, value, unit }: &Figure| json!({ "name": name, "value": value, "unit": unit });
        let compared = |compared: &Compared| {
            let Compared { name, unit, ours, linuxs } = compared;
            json!({ "name": name, "unit": unit, "ours": ours, "linuxs": linuxs, "ratio": compared.ratio() })
        };
        (self.single.iter().map(single).collect(), self.compared.iter().map(compared).collect())
    }
}

/// In a line, and in a table below it what is compared.
impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let figure = |Figure { name, value, unit }: &Figure| {
            let precision = usize::from(value.fract() != 0.0);
            format!("{name} {value:.precision$} {unit}").trim_end().to_owned()
        };
        f.write_str(&self.single.iter().map(figure).collect::<Vec<_>>().join(", "))?;
        if !self.compared.is_empty() {
            write!(f, "\n    {:<44} {:>9} {:>9} {:>7}", "", "ours", "Linux's", "ratio")?;
        }
        self.compared.iter().try_for_each(|compared| {
            let Compared { name, unit, ours, linuxs } = compared;
            write!(f, "\n    {name:<32} {unit:<11} {ours:>9.0} {linuxs:>9.0} {:>7.2}", compared.ratio())
        })
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
            Ok(figures) => (object["figures"], object["compared"]) = figures.to_json(),
            Err(error) => object["error"] = format!("{error:#}").into(),
        }
        object
    }
}

/// One line, or more for a comparison or a failure.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_shown_in_a_line_and_in_a_table() {
        let mut figures = Figures::default();
        figures.add("disk after", 6.92, "s");
        figures.add("frames", 12.0, "");
        assert_eq!(figures.to_string(), "disk after 6.9 s, frames 12");
        figures.compare("4 KiB random reads, depth 32", "IOPS", 9000.0, 2000.0);
        let text = figures.to_string();
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines[0], "disk after 6.9 s, frames 12");
        assert_eq!(lines[1].split_whitespace().collect::<Vec<_>>(), ["ours", "Linux's", "ratio"]);
        assert!(lines[2].starts_with("    4 KiB random reads, depth 32     IOPS "), "{text}");
        assert!(lines[2].ends_with("     9000      2000    4.50"), "{text}");
        assert_eq!(lines[1].len(), lines[2].len(), "{text}");
    }

    #[test]
    fn machines_are_told_the_same() {
        let mut figures = Figures::default();
        figures.add("disk after", 6.92, "s");
        figures.compare("reads", "IOPS", 9000.0, 2000.0);
        let (single, compared) = figures.to_json();
        assert_eq!(single, json!([{ "name": "disk after", "value": 6.92, "unit": "s" }]));
        let row = json!({ "name": "reads", "unit": "IOPS", "ours": 9000.0, "linuxs": 2000.0, "ratio": 4.5 });
        assert_eq!(compared, json!([row]));
    }
}

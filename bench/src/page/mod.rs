//! How figures come out: as a table, as JSON, and as a page that needs nothing beside it.

mod axis;
mod plot;

use anyhow::Context as _;
pub(crate) use axis::Axis;
pub(crate) use plot::{Plot, Series};
use serde::Serialize;
use std::fmt::{Display, Write as _};
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use xfcoe::program;

/// Where figures go.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Output {
    /// Print one JSON object instead of a table
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Write a page with plots to FILE, too
    #[arg(long, global = true, value_name = "FILE")]
    html: Option<PathBuf>,
}

/// What has plots.
pub(crate) trait Plots {
    fn plots(&self) -> Vec<Plot>;
}

impl Output {
    /// Prints a report, and writes its page if one is wanted.
    pub(crate) fn print(&self, report: &(impl Display + Serialize + Plots)) -> anyhow::Result<()> {
        program::print(self.json, report)?;
        if let Some(path) = &self.html {
            let page = page(report)?;
            fs::write(path, page).with_context(|| format!("cannot write {}", path.display()))?;
        }
        Ok(())
    }
}

const STYLE: &str = "body{font:16px sans-serif;max-width:76em;margin:2em auto;padding:0 1em;color:#222}\
                     pre{font:13px monospace;overflow-x:auto;line-height:1.15}\
                     svg{display:block;margin:1.5em 0;max-width:100%;height:auto}";

/// The page: what was run, where and when, what came of it in words, in plots and as JSON.
fn page(report: &(impl Display + Serialize + Plots)) -> anyhow::Result<String> {
    let command = std::env::args().collect::<Vec<_>>().join(" ");
    let title = std::env::args().skip(1).find(|word| !word.starts_with('-')).unwrap_or_default();
    let mut page = format!(
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>xfcoe-bench {0}</title>\
         <style>{STYLE}</style></head><body>\n<h1>xfcoe-bench {0}</h1>\n",
        escaped(&title)
    );
    for (name, value) in
        [("run as", command), ("at", said_by("date", "--rfc-3339=seconds")), ("on", machine())]
    {
        writeln!(page, "<p>{name} <code>{}</code></p>", escaped(&value))?;
    }
    writeln!(page, "<pre>{}</pre>", escaped(&report.to_string()))?;
    for plot in report.plots() {
        plot.draw(&mut page)?;
    }
    let json = serde_json::to_string_pretty(report)?;
    writeln!(
        page,
        "<details><summary>JSON</summary><pre>{}</pre></details>\n</body></html>",
        escaped(&json)
    )?;
    Ok(page)
}

/// The kernel, and the CPUs as it calls them.
fn machine() -> String {
    let cpus = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let models = || cpus.lines().filter_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let model = models().next().map_or("CPUs", |(_, model)| model);
    format!("{}; {} x {model}", said_by("uname", "-srm"), models().count())
}

/// What a program says; nothing where there is none.
fn said_by(program: &str, argument: &str) -> String {
    let output = Command::new(program).arg(argument).output();
    output.map_or_else(|_| String::new(), |output| String::from_utf8_lossy(&output.stdout).trim().into())
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

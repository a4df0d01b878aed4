//! The numbers of instructions that the repository keeps, for a change that costs some to be noticed.

use anyhow::{Context as _, bail};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write as _};
use std::path::Path;
use std::process::Command;

/// How many more instructions a frame may take than are kept.
const TOLERANCE: f64 = 0.05;

const HEAD: &str = "# Instructions that one frame takes in each case of `xfcoe-bench datapath`, by callgrind. `./x instructions` fails\n\
                    # at 5% more; `./x instructions --renew` writes this file.\n";

/// By the name of the case.
pub(super) type Counts = BTreeMap<String, f64>;

#[derive(Serialize, Deserialize)]
struct Kept {
    /// What they were counted on.
    arch: String,
    /// What rustc calls itself: another one makes other instructions.
    rustc: String,
    instructions: Counts,
}

/// Writes what was counted.
pub(super) fn renew(path: &Path, instructions: Counts) -> anyhow::Result<()> {
    let kept = Kept { arch: std::env::consts::ARCH.into(), rustc: rustc()?, instructions };
    let text = format!("{HEAD}{}", toml::to_string(&kept)?);
    fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}

/// Fails where more was counted than is kept.
pub(super) fn check(path: &Path, counted: &Counts) -> anyhow::Result<()> {
    let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let kept: Kept = toml::from_str(&text).with_context(|| format!("cannot read {}", path.display()))?;
    let mut out = io::stdout().lock();
    if kept.arch != std::env::consts::ARCH {
        writeln!(
            out,
            "SKIPPED: instructions are kept of {}, and this is {}",
            kept.arch,
            std::env::consts::ARCH
        )?;
        return if std::env::var_os("XFCOE_NO_SKIP").is_some_and(|value| value == "1") {
            bail!("a skip is a failure here")
        } else {
            Ok(())
        };
    }
    let (more, fewer) = compare(&kept.instructions, counted);
    for line in fewer {
        writeln!(out, "fewer instructions: {line}")?;
    }
    if more.is_empty() {
        return Ok(());
    }
    let (theirs, ours) = (&kept.rustc, rustc()?);
    let compiler = if *theirs == ours {
        String::new()
    } else {
        format!(" They were counted of {theirs}, and this is {ours}.")
    };
    bail!(
        "more instructions than {} has: {}. If that is worth it, `./x instructions --renew` keeps them.{compiler}",
        path.display(),
        more.join("; ")
    )
}

/// The cases that take more than they did, or aren't the same ones, and those that take less.
fn compare(kept: &Counts, counted: &Counts) -> (Vec<String>, Vec<String>) {
    let (mut more, mut fewer) = (Vec::new(), Vec::new());
    for (name, now) in counted {
        match kept.get(name) {
            Some(then) if *now > then * (1.0 + TOLERANCE) => more.push(format!("{name}: {now}, not {then}")),
            Some(then) if *now < then * (1.0 - TOLERANCE) => fewer.push(format!("{name}: {now}, not {then}")),
            Some(_) => {}
            None => more.push(format!("{name}: {now}, and none is kept")),
        }
    }
    more.extend(
        kept.keys().filter(|name| !counted.contains_key(*name)).map(|name| format!("{name}: not counted")),
    );
    (more, fewer)
}

fn rustc() -> anyhow::Result<String> {
    let output =
        Command::new("rustc").arg("--version").output().context("cannot ask rustc for its version")?;
    Ok(String::from_utf8_lossy(&output.stdout).trim().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn five_percent_more_is_too_much() {
        let counts = |response: f64| Counts::from([("response".into(), response), ("command".into(), 100.0)]);
        let compared = |now| compare(&counts(100.0), &counts(now));
        assert_eq!(compared(104.9), (vec![], vec![]));
        assert_eq!(compared(105.1), (vec!["response: 105.1, not 100".into()], vec![]));
        assert_eq!(compared(94.9), (vec![], vec!["response: 94.9, not 100".into()]));
        let one = Counts::from([("response".into(), 100.0)]);
        assert_eq!(compare(&one, &counts(100.0)).0, ["command: 100, and none is kept"]);
        assert_eq!(compare(&counts(100.0), &one).0, ["command: not counted"]);
    }
}

//! Instructions of a step, counted by callgrind on this same program.

use super::case::Case;
use super::rig::{BATCH, Rig};
use anyhow::{Context as _, bail};
use std::process::{Command, Stdio};

/// Rounds that are counted. All are alike but for where the exchanges lie.
const ROUNDS: u32 = 20;

/// The function whose instructions are counted, with all that it calls.
const MEASURED: &str = "--toggle-collect=*measured_step*";

/// Whether there is a valgrind.
pub(super) fn is_installed() -> bool {
    let version = Command::new("valgrind").arg("--version").stdout(Stdio::null()).status();
    version.is_ok_and(|status| status.success())
}

/// What callgrind runs.
pub(super) fn run_case(case: &Case) {
    let mut rig = Rig::new(case);
    for _ in 0..ROUNDS {
        rig.warm_up();
    }
    for _ in 0..ROUNDS {
        rig.timed_round();
    }
}

/// Instructions for each frame of the case of this number.
pub(super) fn count(number: usize) -> anyhow::Result<f64> {
    let program = std::env::current_exe().context("cannot find this program")?;
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null", MEASURED])
        .arg(program)
        .args(["datapath", "--count-case", &number.to_string()])
        .output()
        .context("cannot run valgrind; Debian's package of that name has it")?;
    let said = String::from_utf8_lossy(&output.stderr);
    match collected(&said) {
        Some(instructions) if output.status.success() && instructions > 0 => {
            Ok(instructions as f64 / f64::from(ROUNDS) / BATCH as f64)
        }
        _ => bail!("valgrind has counted nothing ({}): {said}", output.status),
    }
}

/// The number behind `Collected :`.
fn collected(said: &str) -> Option<u64> {
    let (_, rest) = said.split_once("Collected : ")?;
    rest.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_valgrind_says_is_understood() {
        let said =
            "==7== Events    : Ir\n==7== Collected : 7276923\n==7== \n==7== I   refs:      7,276,923\n";
        assert_eq!(collected(said), Some(7_276_923));
        assert_eq!(collected("valgrind: cannot execute"), None);
    }
}

//! The whole system in one thread and with a clock of its own: initiators, a switch, SANs, and everything that goes
//! wrong between them, made from one seed.
//!
//! `./x sim` runs it. A seed makes a [`plan`]; a [`world`] carries it out: a time in which things go wrong, then
//! healing, and after that all must be well within a bound. All along each request ends once, what is read agrees
//! with a [`model`] of the disk, and an [`audit`] watches what initiators send.

#![forbid(unsafe_code)]

mod audit;
mod chance;
mod cores;
mod forger;
mod host;
mod host_port;
mod load;
mod model;
mod plan;
mod run;
mod switch;
mod trace;
mod world;

use anyhow::{Context as _, bail};
use clap::Parser;
use run::{Campaign, Outcome};
use serde_json::json;
use std::io::{self, Write as _};
use std::num::NonZero;
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// Runs whole SANs in memory, with everything going wrong that a seed makes
#[derive(Debug, Parser)]
#[command(name = "sim", bin_name = "./x sim")]
struct Cli {
    /// the first seed, decimal or with 0x
    #[arg(long, default_value = "1", value_parser = parse_seed)]
    seed: u64,
    /// how many seeds [default: 1 with --seed, else 100]
    #[arg(long)]
    count: Option<u64>,
    /// simulated seconds in which things go wrong, of each seed
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    seconds: u64,
    /// plants a bug, which is to be found: a command whose exchange failed is said to have ended well
    #[arg(long)]
    canary: bool,
    /// seeds at one time [default: CPUs]
    #[arg(long)]
    threads: Option<NonZero<usize>>,
    /// prints the summary as a line of JSON
    #[arg(long)]
    json: bool,
}

fn parse_seed(text: &str) -> Result<u64, std::num::ParseIntError> {
    match text.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16),
        None => text.parse(),
    }
}

fn main() -> ExitCode {
    match run(&Cli::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            // Nothing is left to be done about a stderr that is closed.
            let _ = writeln!(io::stderr(), "sim: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Whether all went as it should.
fn run(cli: &Cli) -> anyhow::Result<bool> {
    let has_seed = std::env::args().any(|argument| argument.starts_with("--seed"));
    let campaign = Campaign {
        first: cli.seed,
        count: cli.count.unwrap_or(if has_seed { 1 } else { 100 }),
        faults_for: Duration::from_secs(cli.seconds),
        has_canary: cli.canary,
        threads: cli.threads.map_or_else(cpus, NonZero::get),
    };
    let started = Instant::now();
    let outcome = campaign.run();
    let took = started.elapsed();
    print_summary(cli.json, &campaign, &outcome, took)?;
    let Some((seed, failure)) = outcome.failure else { return Ok(true) };
    let again = campaign.explain(seed).context("the failed seed's frames can't be written")?;
    let Some(explained) = again else {
        bail!("seed {seed} failed ({}), and does not fail when it is run again", failure.what);
    };
    writeln!(io::stderr(), "{explained}")?;
    Ok(false)
}

fn cpus() -> usize {
    std::thread::available_parallelism().map_or(1, NonZero::get)
}

fn print_summary(as_json: bool, campaign: &Campaign, outcome: &Outcome, took: Duration) -> io::Result<()> {
    let Outcome { seeds, frames, requests, failures, simulated, longest, hash, failure } = outcome;
    let rate = *seeds as f64 / took.as_secs_f64();
    let mut stdout = io::stdout();
    if as_json {
        let line = json!({
            "seeds": seeds,
            "simulated_s": simulated.as_secs_f64(),
            "took_s": took.as_secs_f64(),
            "seeds_per_s": rate,
            "frames": frames,
            "requests": requests,
            "failed_requests": failures,
            "longest_until_well_s": longest.0.as_secs_f64(),
            "longest_seed": longest.1,
            "hash": format!("{hash:016x}"),
            "canary": campaign.has_canary,
            "failed_seed": failure.as_ref().map(|(seed, _)| seed),
            "failure": failure.as_ref().map(|(_, failure)| &failure.what),
        });
        return writeln!(stdout, "{line}");
    }
    writeln!(
        stdout,
        "{seeds} seeds in {:.1} s ({rate:.1} a second): {:.0} simulated seconds, {frames} frames, {requests} requests, of \
         which {failures} failed; all was well {:.1} s after the last fault at the latest (seed {}); hash {hash:016x}",
        took.as_secs_f64(),
        simulated.as_secs_f64(),
        longest.0.as_secs_f64(),
        longest.1,
    )
}

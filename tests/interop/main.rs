//! Linux kernels in QEMU as peers: an FCoE stack that nobody here wrote, in front of users' data.
//!
//! `./x interop` runs it. A scenario is a function over a [`lab::Lab`]; [`scenarios`] says how to write one. It has a
//! network namespace and a thread of its own, in which, and with which, all ends that it has started.

#![forbid(unsafe_code)]

mod capture;
mod daemon;
mod guest;
mod image;
mod lab;
mod lan;
mod login;
mod report;
mod scenarios;

use anyhow::{Context as _, bail, ensure};
use clap::Parser;
use image::{Image, Kernel};
use lab::Lab;
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::Signal;
use nix::unistd::Uid;
use report::{Figures, Outcome};
use scenarios::{SCENARIOS, Scenario};
use serde_json::Value;
use std::fmt::Display;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;
use xfcoe::netns::Namespace;

/// Runs scenarios with the Linux kernel's FCoE stack as peer, in QEMU
#[derive(Debug, Parser)]
#[command(name = "interop", bin_name = "./x interop")]
struct Cli {
    /// names of scenarios, `all`, or `quick` for those that `./x test` runs [default: quick]
    scenarios: Vec<String>,
    /// the guests' kernel; the environment's KERNEL says the same
    #[arg(long, value_enum)]
    kernel: Option<Kernel>,
    /// shows what there is
    #[arg(long)]
    list: bool,
    /// prints a line of JSON for each scenario
    #[arg(long)]
    json: bool,
}

fn main() -> ExitCode {
    match run(&Cli::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            // Nothing is left to be done about a stderr that is closed.
            let _ = writeln!(io::stderr(), "interop: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Whether all scenarios went well.
fn run(cli: &Cli) -> anyhow::Result<bool> {
    if cli.list {
        for scenario in SCENARIOS {
            print(cli.json, scenario, scenario.to_json())?;
        }
        return Ok(true);
    }
    let chosen = choose(&cli.scenarios)?;
    let kernel = kernel(cli)?;
    preflight()?;
    // Those that it starts end with this process, and this one with ./x.
    set_pdeathsig(Signal::SIGTERM)?;
    let _only = only_run()?;
    let image = Image::prepare(kernel)?;
    let mut all_went_well = true;
    for scenario in chosen {
        let Scenario { name, least, .. } = scenario;
        if kernel < *least {
            ::tests::skip(&format!("{name} takes Linux {least}: KERNEL={least} ./x interop {name}"));
            continue;
        }
        let outcome = play(scenario, kernel, &image)?;
        print(cli.json, &outcome, outcome.to_json())?;
        all_went_well &= outcome.result.is_ok();
    }
    Ok(all_went_well)
}

/// Prints what is for people, or for machines the same.
fn print(json: bool, text: &impl Display, value: Value) -> io::Result<()> {
    if json { writeln!(io::stdout(), "{value}") } else { writeln!(io::stdout(), "{text}") }
}

fn choose(names: &[String]) -> anyhow::Result<Vec<&'static Scenario>> {
    let mut chosen = Vec::new();
    let quick = ["quick".to_owned()];
    for name in if names.is_empty() { &quick } else { names } {
        match name.as_str() {
            "all" => chosen.extend(SCENARIOS),
            "quick" => chosen.extend(SCENARIOS.iter().filter(|scenario| scenario.quick)),
            name => match SCENARIOS.iter().find(|scenario| scenario.name == name) {
                Some(scenario) => chosen.push(scenario),
                None => {
                    let names: Vec<_> = SCENARIOS.iter().map(|scenario| scenario.name).collect();
                    bail!("there is no scenario `{name}`; there are: all, quick, {}", names.join(", "));
                }
            },
        }
    }
    Ok(chosen)
}

fn kernel(cli: &Cli) -> anyhow::Result<Kernel> {
    use clap::ValueEnum as _;
    match (cli.kernel, std::env::var("KERNEL")) {
        (Some(kernel), _) => Ok(kernel),
        (None, Ok(name)) if !name.is_empty() => Kernel::from_str(&name, false)
            .map_err(|_| anyhow::anyhow!("KERNEL={name} is not one of the kernels: 6.1, 6.12")),
        (None, _) => Ok(Kernel::V6_1),
    }
}

fn preflight() -> anyhow::Result<()> {
    ensure!(Uid::effective().is_root(), "network namespaces take root; ./x interop uses sudo");
    OpenOptions::new().read(true).write(true).open("/dev/net/tun").context(
        "cannot open /dev/net/tun, which guests need for their network; load the kernel's module `tun`",
    )?;
    Ok(())
}

/// Two runs would keep what they see in the same place.
fn only_run() -> anyhow::Result<File> {
    let last = image::folder().join("last");
    fs::create_dir_all(&last)?;
    let lock = File::create(last.join("lock"))?;
    lock.try_lock().context("another ./x interop runs in this checkout; wait for it to end")?;
    Ok(lock)
}

/// Runs a scenario on a thread in a network namespace of its own.
fn play(scenario: &'static Scenario, kernel: Kernel, image: &Image) -> anyhow::Result<Outcome> {
    let folder = image::folder().join("last").join(scenario.name);
    if folder.exists() {
        fs::remove_dir_all(&folder)?;
    }
    fs::create_dir_all(&folder)?;
    let folder = folder.canonicalize()?;
    let started = Instant::now();
    let result = Namespace::new()?.run(|| act(scenario, image, &folder))?;
    Ok(Outcome { scenario, kernel, took: started.elapsed(), result, folder })
}

fn act(scenario: &Scenario, image: &Image, folder: &Path) -> anyhow::Result<Figures> {
    let mut lab = Lab::new(scenario.mtu, image, folder)?;
    let mut figures = (scenario.run)(&mut lab)?;
    let frames = lab.check_frames()?;
    if frames > 0 {
        figures.add("frames", frames as f64, "");
    }
    Ok(figures)
}

#[cfg(test)]
mod tests {
    use super::*;
    use report::NAME_LEN;

    #[test]
    fn scenarios_are_chosen_by_name() {
        let names = |names: &[&str]| {
            let names: Vec<String> = names.iter().map(ToString::to_string).collect();
            choose(&names).map(|chosen| chosen.iter().map(|scenario| scenario.name).collect::<Vec<_>>())
        };
        assert_eq!(names(&["beside", "fabric"]).unwrap(), ["beside", "fabric"]);
        assert_eq!(names(&["all"]).unwrap().len(), SCENARIOS.len());
        let quick = names(&[]).unwrap();
        assert!(!quick.is_empty() && quick.len() < SCENARIOS.len());
        assert_eq!(names(&["quick"]).unwrap(), quick);
        let error = names(&["fabrik"]).unwrap_err().to_string();
        assert!(
            error.starts_with("there is no scenario `fabrik`; there are: all, quick, fabric, "),
            "{error}"
        );
    }

    #[test]
    fn names_of_scenarios_are_short_and_differ() {
        for (number, Scenario { name, .. }) in SCENARIOS.iter().enumerate() {
            assert!(name.len() <= NAME_LEN && !["all", "quick"].contains(name), "{name}");
            assert!(SCENARIOS[..number].iter().all(|other| other.name != *name), "{name}");
        }
    }
}

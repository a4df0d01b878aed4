//! The program: from the command line to the exit status.

use crate::cli::{Cli, Command};
use crate::interrupt::{self, Interrupt, Interrupted};
use crate::{demo, fault, list, run, san_thread, transfer};
use clap::Parser;
use indicatif::ProgressBar;
use serde::Serialize;
use std::fmt::Display;
use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;
use std::time::Duration;
use tracing::level_filters::LevelFilter;

/// Runs the program that the command line asks for.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    run("xfcoe", cli.verbose, |interrupt| dispatch(&cli, interrupt))
}

/// Does a program's work, and says as `name` on stderr what went wrong. The status is 0 for success, 1 for failure and
/// 130 after Ctrl-C; wrong usage, which is 2, is the command line's. `verbose` is how many `-v` there were.
pub fn run(name: &str, verbose: u8, work: impl FnOnce(&Interrupt) -> anyhow::Result<()>) -> ExitCode {
    start_logs(verbose);
    match Interrupt::install().map_err(Into::into).and_then(|interrupt| work(&interrupt)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => report(name, &error),
    }
}

fn dispatch(cli: &Cli, interrupt: &Interrupt) -> anyhow::Result<()> {
    match &cli.command {
        Command::Demo(demo) => demo::run(demo, cli.json, interrupt),
        Command::Run(run) => run::run(run, cli.json, interrupt),
        Command::Status(at) => run::status(at, cli.json),
        Command::Reload(at) => run::reload(at, cli.json),
        Command::Identity(args) => run::identity(args, cli.json),
        Command::Export(export) => run::export(export, cli.json),
        Command::San(san) => san_thread::command(san, cli.json, interrupt),
        Command::Fault(fault) => fault::run(fault, cli.json),
        Command::List(list) => list::run(list, cli.json, interrupt),
        Command::Read(read) => transfer::command::read(read, cli.json, interrupt),
        Command::Write(write) => transfer::command::write(write, cli.json, interrupt),
    }
}

fn start_logs(verbose: u8) {
    let level = match verbose {
        0 => LevelFilter::WARN,
        1 => LevelFilter::INFO,
        2 => LevelFilter::DEBUG,
        3.. => LevelFilter::TRACE,
    };
    tracing_subscriber::fmt()
        .with_max_level(level)
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal())
        .with_target(verbose > 1)
        .init();
}

fn report(name: &str, error: &anyhow::Error) -> ExitCode {
    let is_closed_pipe = |cause: &io::Error| cause.kind() == io::ErrorKind::BrokenPipe;
    if error.chain().any(|cause| cause.downcast_ref().is_some_and(is_closed_pipe)) {
        // Who read our output has enough of it.
        return ExitCode::FAILURE;
    }
    // Nothing is left to be done about a stderr that is closed.
    let _ = writeln!(io::stderr(), "{name}: {}", one_line(error));
    if error.is::<Interrupted>() { interrupt::EXIT_STATUS.into() } else { ExitCode::FAILURE }
}

/// An error and its causes, without those whose words stand in an error before them.
fn one_line(error: &anyhow::Error) -> String {
    error.chain().map(ToString::to_string).fold(String::new(), |line, cause| match line.as_str() {
        "" => cause,
        _ if line.contains(&cause) => line,
        _ => format!("{line}: {cause}"),
    })
}

/// Prints a text, or a value as one line of JSON.
///
/// # Errors
/// If standard output takes no more.
pub fn print(json: bool, value: &(impl Display + Serialize)) -> io::Result<()> {
    let mut out = io::stdout().lock();
    if json {
        writeln!(out, "{}", serde_json::to_string(value)?)?
    } else {
        write!(out, "{value}")?
    }
    out.flush()
}

/// Does what takes a while, with a spinner and `message` beside it: on a terminal only, and not beside JSON.
pub fn with_spinner<T>(json: bool, message: &'static str, work: impl FnOnce() -> T) -> T {
    let spinner = if json { ProgressBar::hidden() } else { ProgressBar::new_spinner().with_message(message) };
    spinner.enable_steady_tick(Duration::from_millis(100));
    let result = work();
    spinner.finish_and_clear();
    result
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::Context as _;

    #[test]
    fn an_error_is_one_line_that_says_nothing_twice() {
        let cause = io::Error::other("no room");
        let error = Err::<(), _>(cause).context("cannot write x: no room").context("copying").unwrap_err();
        assert_eq!(one_line(&error), "copying: cannot write x: no room");
    }
}

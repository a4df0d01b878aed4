//! Figures for people and for machines.

#![allow(clippy::print_stdout, reason = "this is the program's output")]

use serde::Serialize;

/// One figure.
#[derive(Serialize)]
pub(crate) struct Case {
    pub(crate) name: &'static str,
    /// Nanoseconds for one frame: the median of all rounds.
    pub(crate) ns: f64,
    /// The fastest round.
    pub(crate) min_ns: f64,
}

#[derive(Serialize)]
struct Report<'a> {
    cases: &'a [Case],
}

pub(crate) fn print(cases: &[Case], json: bool) {
    if json {
        println!("{}", serde_json::to_string(&Report { cases }).expect("numbers and names"));
        return;
    }
    println!("{:<24} {:>10} {:>10}", "one frame", "median ns", "least ns");
    for case in cases {
        println!("{:<24} {:>10.1} {:>10.1}", case.name, case.ns, case.min_ns);
    }
}

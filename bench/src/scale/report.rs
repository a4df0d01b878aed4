//! Rates over how much is there, as tables for people and as JSON for programs.

use crate::page::{Axis, Plot, Plots, Series};
use crate::table::table;
use serde::Serialize;
use std::fmt;
use xfcoe::workload::{Figures, round};

/// Of the rate with few, with 16,384 VN_Ports and with as many commands out as there are OX_IDs.
const GOAL: f64 = 0.95;

/// Its JSON is one object; names end in their units.
#[derive(Debug, Default, Serialize)]
pub(super) struct Report {
    pub(super) on_a_core: Vec<OnACore>,
    pub(super) on_a_link: Vec<OnALink>,
}

/// What reads of 4 KiB take a core without a NIC.
#[derive(Debug, Serialize)]
pub(super) struct OnACore {
    /// Commands that are out.
    pub(super) open: u32,
    pub(super) vn_ports: u32,
    pub(super) ns_per_read: f64,
    /// What that comes to in a second.
    pub(super) iops: f64,
}

/// What reads of 4 KiB come to over a veth pair, with 32 out.
#[derive(Debug, Serialize)]
pub(super) struct OnALink {
    pub(super) what: &'static str,
    pub(super) count: u32,
    /// Until the last disk was there.
    pub(super) login_ms: f64,
    #[serde(flatten)]
    pub(super) figures: Figures,
}

impl Plots for Report {
    fn plots(&self) -> Vec<Plot> {
        let lines = |title: &str, x, y, series| Plot::Lines {
            title: title.into(),
            x: Axis::logarithmic(x),
            y: Axis::linear(y),
            series,
        };
        let least_open = self.on_a_core.iter().map(|load| load.open).min();
        let core = |is_meant: &dyn Fn(&&OnACore) -> bool, at: fn(&OnACore) -> u32, name: &str| Series {
            name: name.into(),
            points: self
                .on_a_core
                .iter()
                .filter(is_meant)
                .map(|load| (f64::from(at(load)), load.ns_per_read))
                .collect(),
        };
        let link = |what: &str| Series {
            name: what.into(),
            points: self
                .on_a_link
                .iter()
                .filter(|load| load.what == what)
                .map(|load| (f64::from(load.count), load.figures.iops))
                .collect(),
        };
        vec![
            lines(
                "A core without a NIC: a read of 4 KiB",
                "how many",
                "ns",
                vec![
                    core(&|load| Some(load.open) == least_open, |load| load.vn_ports, "VN_Ports"),
                    core(&|load| load.vn_ports == 1, |load| load.open, "commands that are out"),
                ],
            ),
            lines(
                "Over a veth pair: reads of 4 KiB",
                "how many",
                "IOPS",
                ["VN_Ports", "targets", "LUNs"].map(link).into(),
            ),
        ]
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let share = |value: f64, first: f64| format!("{:.0}%", round(value / first * 100.0, 0));
        let first = self.on_a_core.first().map_or(1.0, |load| load.iops);
        let rows = self.on_a_core.iter().map(|load| {
            vec![
                load.open.to_string(),
                load.vn_ports.to_string(),
                format!("{:.0}", load.ns_per_read),
                format!("{:.0}", load.iops),
                share(load.iops, first),
            ]
        });
        let header = ["a core without a NIC, reads of 4 KiB: out", "VN_Ports", "ns", "IOPS", "of the first"];
        writeln!(f, "{}", table(1, &header, rows))?;
        if self.on_a_core.iter().any(|load| load.iops < GOAL * first) {
            let percent = GOAL * 100.0;
            writeln!(
                f,
                "The goal is {percent:.0}% for all. `xfcoe-bench datapath` tells, by instructions, how much is work;"
            )?;
            writeln!(f, "the rest is what memory takes for lines that are in no cache when there are many.")?;
        }
        let rows = self.on_a_link.iter().map(|load| {
            let few = self.on_a_link.iter().find(|other| other.what == load.what);
            vec![
                load.what.into(),
                load.count.to_string(),
                format!("{:.0}", load.login_ms),
                format!("{:.0}", load.figures.iops),
                share(load.figures.iops, few.map_or(1.0, |few| few.figures.iops)),
                format!("{:.1}", load.figures.latency.p50_us),
                format!("{:.1}", load.figures.latency.p99_us),
            ]
        });
        let header = [
            "over a veth pair: reads of 4 KiB, 32 out",
            "how many",
            "login ms",
            "IOPS",
            "of the fewest",
            "p50 us",
            "p99 us",
        ];
        writeln!(f, "{}", table(1, &header, rows))
    }
}

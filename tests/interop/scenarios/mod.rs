//! The scenarios.
//!
//! # How to write one
//!
//! A scenario is a function `fn(&mut Lab) -> anyhow::Result<Figures>` in a file of its own, and an entry in
//! [`SCENARIOS`]. It takes from the [`Lab`] what it needs, each at a port of the same LAN:
//!
//! - `lab.san("san", SanConfig { .. })` and `lab.initiator("init", Config::new("init"))` run here, over AF_XDP;
//! - `lab.guest("guest", GuestConfig::default())` boots Linux. `guest.run(script, timeout)` runs a bash script in
//!   it and fails where one of its commands does; `guest.spawn` and `guest.wait` are for what goes on meanwhile. A
//!   guest has all tools of the packages that `interop/packages` lists, and writes to `/lab` what is to be kept.
//!   `lab.bring("xfcoe")` puts a program of ours there, as it was built for release.
//! - `lab.daemon("init", exports)` is `xfcoe run` here, and what it hands out can be a guest's disk
//!   (`GuestConfig::disks`).
//!
//! Dropping one of them is pulling its plug. What fails is an error with what was expected and what was seen:
//! `anyhow::ensure!` and `context`. Every wait has a time-out, and a scenario takes at most three minutes on two idle
//! cores. Guests are slow under emulation: many small checks are better than much data.
//!
//! When the function returns well, each capture is held against tshark: no malformed frame, every CRC right.
//! `target/interop/last/SCENARIO` keeps the captures by the names of their ports, and of each guest the console,
//! the kernel's log (`dmesg`), and each script with its output.

mod beside;
mod compare;
mod death;
mod fabric;
mod npiv;
mod outage;
mod scsi;
mod target;
mod ublk;
mod vhost_user;
mod vn2vn;

use crate::image::Kernel;
use crate::lab::Lab;
use crate::report::Figures;
use san::{LunConfig, SanConfig, TargetConfig};
use xfcoe::netns::MTU;

/// A scenario, as it is listed and run.
#[derive(Debug)]
pub(crate) struct Scenario {
    /// As it is asked for.
    pub(crate) name: &'static str,
    /// What it shows, in a line.
    pub(crate) shows: &'static str,
    /// Whether `./x test` runs it.
    pub(crate) quick: bool,
    /// The first of the kernels that have what it takes.
    pub(crate) least: Kernel,
    /// The LAN's MTU.
    pub(crate) mtu: u32,
    /// Plays it.
    pub(crate) run: fn(&mut Lab) -> anyhow::Result<Figures>,
}

/// All of them, in the order in which they are run.
pub(crate) const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "fabric",
        shows: "Linux logs in to our FCF, makes a file system on our disk, and finds its files again",
        quick: true,
        least: Kernel::V6_1,
        mtu: MTU,
        run: fabric::run,
    },
    Scenario {
        name: "vn2vn",
        shows: "the same without a switch, again when its link was down, and when the SAN is another one",
        quick: false,
        least: Kernel::V6_1,
        mtu: MTU,
        run: vn2vn::run,
    },
    Scenario {
        name: "npiv",
        shows: "a second identity of Linux's port logs in by FDISC, sees its own disk, and goes",
        quick: true,
        least: Kernel::V6_1,
        mtu: MTU,
        run: npiv::run,
    },
    Scenario {
        name: "scsi",
        shows: "sg3-utils agree with what our target answers, and resets end well",
        quick: true,
        least: Kernel::V6_1,
        mtu: MTU,
        run: scsi::run,
    },
    Scenario {
        name: "outage",
        shows: "Linux writes on when its link was down, its virtual link cleared, our FCF another one",
        quick: true,
        least: Kernel::V6_1,
        mtu: MTU,
        run: outage::run,
    },
    Scenario {
        name: "death",
        shows: "a guest that dies under I/O loses its session by the missing keep-alives, and is served again",
        quick: false,
        least: Kernel::V6_1,
        mtu: MTU,
        run: death::run,
    },
    Scenario {
        name: "beside",
        shows: "Linux in a guest and our initiator on its host, on one bridge, each with its own disk",
        quick: false,
        least: Kernel::V6_1,
        mtu: MTU,
        run: beside::run,
    },
    Scenario {
        name: "compare",
        shows: "what our initiator and Linux's make of the same target in one guest: IOPS, CPU time an I/O",
        quick: false,
        least: Kernel::V6_1,
        mtu: MTU,
        run: compare::veth::run,
    },
    Scenario {
        name: "compare-nic",
        shows: "the same with the target outside of the guest, which has CPUs of its own",
        quick: false,
        least: Kernel::V6_1,
        mtu: MTU,
        run: compare::nic::run,
    },
    Scenario {
        name: "vhost-user",
        shows: "a guest with disks by vhost-user-blk and by NBD of our daemon, which is killed under I/O",
        quick: false,
        least: Kernel::V6_1,
        mtu: MTU,
        run: vhost_user::run,
    },
    Scenario {
        name: "ublk",
        shows: "a kernel whose disks are of our daemon, by ublk, which is killed and stopped under a file system",
        quick: false,
        least: Kernel::V6_12,
        mtu: MTU,
        run: ublk::run,
    },
    Scenario {
        name: "target-vn2vn",
        shows: "Linux's target without a switch: data, refusals, both orders of WWPNs, links that come back",
        quick: true,
        least: Kernel::V6_1,
        mtu: MTU,
        run: target::vn2vn::run,
    },
    Scenario {
        name: "target-fabric",
        shows: "Linux's target by way of our FCF: data, refusals, a target that goes and comes",
        quick: false,
        least: Kernel::V6_1,
        mtu: MTU,
        run: target::fabric::run,
    },
    Scenario {
        name: "mtu1500",
        shows: "Linux's target, and Linux with our SAN, where no frame fits that is longer than usual",
        quick: false,
        least: Kernel::V6_1,
        mtu: 1500,
        run: target::mtu1500::run,
    },
];

/// A SAN with one target with one disk.
fn one_disk(disk: LunConfig) -> SanConfig {
    SanConfig {
        targets: vec![TargetConfig { luns: vec![disk], ..TargetConfig::default() }],
        ..SanConfig::default()
    }
}

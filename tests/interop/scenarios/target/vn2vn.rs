//! Without a switch (VN2VN): our WWPN below the target's, then above it, as the higher one has to send PLOGI.

use super::{Disks, HIGHER, LOWER, login, now_s};
use crate::guest::{Guest, GuestConfig};
use crate::lab::Lab;
use crate::lan::ip;
use crate::login::Login;
use crate::report::Figures;
use anyhow::ensure;
use fc::wire::Wwn;
use initiator::{Config, Initiator, Topology};
use std::thread;
use std::time::{Duration, Instant};

/// How long a link is down.
const OUTAGE: Duration = Duration::from_secs(1);
/// The ports of `a1-login.pcap`, the lower one first: MAC addresses of ENode and VN_Port.
const GOLDEN: [[&str; 2]; 2] =
    [["52:54:00:0a:00:01", "0e:fd:00:00:00:01"], ["52:54:00:0a:00:02", "0e:fd:00:00:00:02"]];

pub(crate) fn run(lab: &mut Lab) -> anyhow::Result<Figures> {
    let mut figures = Figures::default();
    let mut guest = lab.guest("guest", GuestConfig::default())?;
    let target = lab.wwpn("guest");
    guest.serve(target, &[LOWER, HIGHER])?;
    guest.start_vn2vn("eth0")?;

    let (initiator, disks, lower_since) = start(lab, LOWER, &mut figures)?;
    disks.write_and_read()?;
    outages(&mut guest, &disks, &mut figures)?;
    initiator.stop();

    let (initiator, disks, higher_since) = start(lab, HIGHER, &mut figures)?;
    outages(&mut guest, &disks, &mut figures)?;
    disks.be_refused(&mut guest)?;
    initiator.stop();
    drop(guest);

    let logins = [(lower_since, "0e:fd:00:00:00:01"), (higher_since, "0e:fd:00:00:ff:f1")];
    for ((since_s, vn_port), golden) in logins.into_iter().zip(GOLDEN) {
        let mut ours = login(lab, since_s, vn_port)?;
        let mut linux = Login::golden("a1-login.pcap", &golden)?;
        // One FLOGI makes a virtual link: who hears a beacon first sends it. Where two cross, both are answered.
        for login in [&mut ours, &mut linux] {
            login.requests.retain(|said| said != "FLOGI");
        }
        ensure!(ours == linux, "our login is {ours:?}, and Linux's {linux:?}");
    }
    Ok(figures)
}

/// Starts our initiator, and tells also when.
fn start(lab: &mut Lab, port_name: Wwn, figures: &mut Figures) -> anyhow::Result<(Initiator, Disks, f64)> {
    let (started, since_s) = (Instant::now(), now_s());
    let config = Config { topology: Topology::Vn2vn, port_name: Some(port_name), ..Config::new("init") };
    let initiator = lab.initiator("init", config)?;
    let disks = Disks::wait(&initiator)?;
    figures.add("disks after", started.elapsed().as_secs_f64(), "s");
    Ok((initiator, disks, since_s))
}

/// Each end loses its link, then the target logs out and in.
fn outages(guest: &mut Guest, disks: &Disks, figures: &mut Figures) -> anyhow::Result<()> {
    ip(&["link", "set", "init", "down"])?;
    thread::sleep(OUTAGE);
    ip(&["link", "set", "init", "up"])?;
    figures.add("again after our link", disks.wait_until_back()?.as_secs_f64(), "s");
    guest.bounce_link("eth0", OUTAGE)?;
    figures.add("its link", disks.wait_until_back()?.as_secs_f64(), "s");
    guest.restart_fcoe("eth0")?;
    figures.add("its logout", disks.wait_until_back()?.as_secs_f64(), "s");
    Ok(())
}

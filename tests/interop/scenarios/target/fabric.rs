//! Both logged in to our FCF, which has no target of its own and passes their frames on.

use super::{Disks, LOWER, login, now_s};
use crate::guest::GuestConfig;
use crate::lab::Lab;
use crate::login::Login;
use crate::report::Figures;
use anyhow::ensure;
use initiator::{Config, Inventory};
use san::{FcfConfig, SanConfig};
use std::time::{Duration, Instant};

/// A target without a word is gone after 2.5 periods.
const FKA_ADV_PERIOD_MS: u32 = 2000;
/// As much, and what it takes besides.
const SILENCE: Duration = Duration::from_secs(10);
/// The initiator of `f1-fabric-login-and-io.pcap`: MAC addresses of ENode and VN_Port.
const GOLDEN: [&str; 2] = ["52:54:00:fc:00:07", "0e:fc:00:01:02:01"];

pub(crate) fn run(lab: &mut Lab) -> anyhow::Result<Figures> {
    let mut figures = Figures::default();
    let fcf = FcfConfig { fka_adv_period_ms: FKA_ADV_PERIOD_MS, ..FcfConfig::default() };
    let san = lab.san("san", SanConfig { fcf, targets: Vec::new(), ..SanConfig::default() })?;
    let mut guest = lab.guest("guest", GuestConfig::default())?;
    let target = lab.wwpn("guest");
    guest.serve(target, &[LOWER])?;
    guest.start_fcoe("eth0")?;

    let (started, since_s) = (Instant::now(), now_s());
    let initiator = lab.initiator("init", Config { port_name: Some(LOWER), ..Config::new("init") })?;
    let disks = Disks::wait(&initiator)?;
    figures.add("disks after", started.elapsed().as_secs_f64(), "s");
    disks.write_and_read()?;
    disks.be_refused(&mut guest)?;
    guest.restart_fcoe("eth0")?;
    figures.add("again after its logout", disks.wait_until_back()?.as_secs_f64(), "s");

    drop(guest);
    let dropped = Instant::now();
    let is_gone = |inventory: &Inventory| inventory.targets.iter().all(|target| !target.ready);
    let inventory = initiator.wait_for(SILENCE, is_gone);
    ensure!(is_gone(&inventory), "nobody has told that the target is gone: {inventory:#?}");
    figures.add("gone after its death", dropped.elapsed().as_secs_f64(), "s");

    let mac = inventory.vn_ports.iter().find_map(|port| port.mac).unwrap_or_default();
    initiator.stop();
    let forwarded = san.stop()?.counters.forwarded_frames;
    figures.add("forwarded", forwarded as f64, "frames");

    let mut ours = login(lab, since_s, &mac.to_string())?;
    let mut linux = Login::golden("f1-fabric-login-and-io.pcap", &GOLDEN)?;
    for login in [&mut ours, &mut linux] {
        forget_what_may_differ(login);
    }
    ensure!(ours == linux, "our login is {ours:?}, and Linux's {linux:?}");
    Ok(figures)
}

/// After the PLOGI to the name server there is one between the two: of whoever hears of the other first. We solicit
/// an FCF that has advertised once more, and ask the name server about each RSCN.
fn forget_what_may_differ(login: &mut Login) {
    let first = login.requests.iter().position(|said| said == "PLOGI");
    let mut at = 0..;
    login.requests.retain(|said| {
        let at = at.next();
        said != "GPN_ID" && (said != "PLOGI" || at == first)
    });
    login.requests.dedup_by(|again, said| again == said && said == "Solicitation");
    login.replies.retain(|said| !said.ends_with("(PLOGI)") && !said.ends_with("(RSCN)"));
}

//! Linux as initiator, our SAN, in fabric mode and on a VLAN.

use crate::guest::{Guest, GuestConfig, SHORT};
use crate::lab::Lab;
use crate::report::Figures;
use anyhow::{Context as _, ensure};
use fc::wire::Wwn;
use san::SanConfig;
use std::time::Instant;

const SERIAL: &str = "fabric-disk";
const VLAN: u16 = 100;
const LUN_MIB: u64 = 8;
/// The kernel counts FKA_ADV_PERIOD in ticks of 4 ms, and fcoeadm calls them seconds.
const TICK_MS: u32 = 4;

pub(crate) fn run(lab: &mut Lab) -> anyhow::Result<Figures> {
    let mut figures = Figures::default();
    let (disk, file) = lab.file_disk(SERIAL, LUN_MIB << 20)?;
    let mut config = super::one_disk(disk);
    config.vlan = Some(VLAN);
    config.fcf.priority = 77;
    let san = lab.san("san", config.clone())?;
    let mut guest = lab.guest("guest", GuestConfig::default())?;

    let started = Instant::now();
    let found = guest.run("fipvlan --create eth0", SHORT)?;
    let row = format!("eth0 | {VLAN} | {}", config.fcf.mac);
    let rows =
        || found.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ").to_lowercase());
    ensure!(rows().any(|found| found == row), "fipvlan was to find `{row}`: {found}");
    guest.run(&format!("ip link set eth0.{VLAN} up"), SHORT)?;
    guest.start_fcoe(&format!("eth0.{VLAN}"))?;
    let disk = guest.wait_for_disk(SERIAL)?;
    figures.add("disk after", started.elapsed().as_secs_f64(), "s");

    shows_what_there_is(&mut guest, &config, &disk).context("fcoeadm")?;
    guest.use_file_system(&disk)?;
    guest.verify_disk(&disk)?;
    guest.compare_disk(&disk, &file)?;

    guest.has_no_errors()?;

    drop(guest);
    let counters = san.stop()?.counters;
    // The first command is told of the unit attention of a new session. Newer kernels ask twice for a mode page of
    // hints that we don't have.
    ensure!([1, 3].contains(&counters.failed_commands), "1 or 3 commands were to fail: {counters:?}");
    figures.add("commands", counters.commands as f64, "");
    Ok(figures)
}

/// fcoeadm shows port, FCF, target and LUN as they are.
fn shows_what_there_is(guest: &mut Guest, config: &SanConfig, disk: &str) -> anyhow::Result<()> {
    let (fcf, target) = (&config.fcf, &config.targets[0]);
    let number = |wwn: Wwn| format!("0x{:016x}", wwn.to_u64());
    let expected = [
        ("i", "State", "Online".into()),
        ("i", "FC-ID (Port ID)", format!("0x{:06x}", guest.fc_id()?.to_u32())),
        ("i", "Fabric Name", number(fcf.fabric_name)),
        ("i", "MaxFrameSize", format!("{} bytes", config.max_payload_len)),
        ("f", "Connection Mode", "Connected".into()),
        ("f", "Fabric Name", number(fcf.fabric_name)),
        ("f", "Switch Name", number(fcf.switch_name)),
        ("f", "MAC Address", fcf.mac.to_string().to_uppercase()),
        ("f", "FCF Priority", fcf.priority.to_string()),
        ("f", "FKA Period", format!("{} seconds", fcf.fka_adv_period_ms / TICK_MS)),
        ("f", "Selected", "Yes".into()),
        ("f", "VLAN ID", VLAN.to_string()),
        ("t", "Roles", "FCP Target".into()),
        ("t", "Node Name", number(target.wwnn)),
        ("t", "Port Name", number(target.wwpn)),
        ("t", "MaxFrameSize", format!("{} bytes", config.max_payload_len)),
        ("t", "State", "Online".into()),
        ("l", "OS Device Name", disk.to_owned()),
        ("l", "LUN ID", "0".into()),
        ("l", "Capacity", format!("{LUN_MIB}.00 MiB")),
        ("l", "Block Size", "512 bytes".into()),
        ("l", "Status", "Attached".into()),
    ];
    for option in ["i", "f", "t", "l"] {
        let said = guest.run(&format!("fcoeadm -{option}"), SHORT)?;
        for (_, name, value) in expected.iter().filter(|(shown_by, ..)| *shown_by == option) {
            let shown = said.lines().filter_map(|line| line.split_once(':'));
            let mut shown = shown.filter(|(found, _)| found.trim() == *name);
            ensure!(
                shown.any(|(_, found)| found.trim() == value),
                "-{option} was to show `{name}: {value}`:\n{said}"
            );
        }
    }
    Ok(())
}

//! Links of MTU 1500: the kernel's target for us without a switch, then our SAN for the kernel. No frame is longer.

use super::{Disks, LOWER};
use crate::guest::GuestConfig;
use crate::lab::Lab;
use crate::report::Figures;
use crate::scenarios::one_disk;
use anyhow::ensure;
use initiator::{Config, Topology};
use san::{FcfConfig, LunConfig};
use std::time::Instant;

const SERIAL: &str = "mtu1500-disk";
/// FC payload of a frame as long as the link takes: 1500 less FCoE's 22 bytes, whole words, less the FC header.
const PAYLOAD_LEN: u16 = 1452;
/// Such a frame with Ethernet's header.
const FRAME_LEN: usize = 1512;

pub(crate) fn run(lab: &mut Lab) -> anyhow::Result<Figures> {
    let mut figures = Figures::default();
    let mut guest = lab.guest("guest", GuestConfig::default())?;
    let target = lab.wwpn("guest");
    guest.serve(target, &[LOWER])?;
    guest.start_vn2vn("eth0")?;
    let config = Config { topology: Topology::Vn2vn, port_name: Some(LOWER), ..Config::new("init") };
    let started = Instant::now();
    let initiator = lab.initiator("init", config)?;
    let disks = Disks::wait(&initiator)?;
    figures.add("disks after", started.elapsed().as_secs_f64(), "s");
    let agreed: Vec<_> = initiator.inventory().targets.iter().map(|target| target.max_payload_len).collect();
    ensure!(agreed == [PAYLOAD_LEN], "payloads of {agreed:?} bytes were agreed on");
    disks.write_and_read()?;
    initiator.stop();

    guest.stop_fcoe("eth0")?;
    let lun = LunConfig { size_bytes: 8 << 20, serial: SERIAL.into(), ..LunConfig::default() };
    let san = lab.san("san", one_disk(lun))?;
    guest.start_fcoe("eth0")?;
    let disk = guest.wait_for_disk(SERIAL)?;
    guest.verify_disk(&disk)?;
    drop(guest);
    san.stop()?;

    for port in ["init", "guest", "san"] {
        let longer = lab.frames(port, &format!("frame.len > {FRAME_LEN}"))?;
        ensure!(
            longer.is_empty(),
            "{port} has {} frames that are longer, such as {:?}",
            longer.len(),
            longer[0]
        );
    }
    // Of the kernel's initiator there is none: it writes whole blocks of 512 bytes in each frame.
    let ours = "0e:fd:00:00:00:01";
    for (port, side) in [
        ("init", format!("eth.src == {ours}")),
        ("init", format!("eth.dst == {ours}")),
        ("san", format!("eth.src == {}", FcfConfig::default().mac)),
    ] {
        let full = lab.frames(port, &format!("fcoe && frame.len == {FRAME_LEN} && {side}"))?;
        ensure!(!full.is_empty(), "at {port} no frame is full where {side}");
    }
    Ok(figures)
}

//! The poll core over a port in memory: what checks, CRC, look-up, copy and completion of a frame cost.

use clap::Args;
use datapath::consumer::Consumer;
use datapath::core::{Core, CoreConfig};
use datapath::port::Waker;
use datapath::port::memory::{self, MemoryConfig, MemoryPort, MemoryWire};
use fc::messages::{Cdb, Command, Nexus, NexusId, ToCore, Transfer};
use fc::time::{Duration, Instant};
use fc::wire::els::{ElsReply, ExchangeStatus};
use fc::wire::ethernet::{EtherType, EthernetHeader, UNTAGGED_HEADER_LEN};
use fc::wire::fcoe::{self, Eof, PROLOGUE_LEN, Sof};
use fc::wire::fcp::{FcpRsp, FcpXferRdy, Lun, RSP_LEN};
use fc::wire::header::{FCtl, FcHeader, FcType, MAX_PAYLOAD_LEN, RCtl, UNASSIGNED_XID};
use fc::wire::{FcId, MacAddr};
use serde::Serialize;
use std::fmt;
use std::sync::Arc;
use xfcoe::program;
use zerocopy::IntoBytes;

/// Frames in a round: one batch of the core.
const BATCH: usize = 64;

const OURS: FcId = FcId([1, 1, 1]);
const TARGET: FcId = FcId([1, 2, 1]);
const OUR_MAC: MacAddr = MacAddr([0x0e, 0xfc, 0, 1, 1, 1]);
const FCF_MAC: MacAddr = MacAddr([2, 0xfc, 0xf0, 0, 0, 1]);
const NEXUS: NexusId = NexusId(0);

/// `xfcoe-bench datapath`
#[derive(Debug, Args)]
pub(crate) struct Datapath {
    /// How often each case is run; the median counts
    #[arg(long, default_value_t = 2000, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
}

pub(crate) fn run(&Datapath { rounds }: &Datapath, json: bool) -> anyhow::Result<()> {
    let cases = vec![
        measure("read data, 2112 bytes", rounds, Bench::read_data),
        measure("response", rounds, Bench::response),
        measure("command", rounds, Bench::command),
        measure("write data, 2112 bytes", rounds, Bench::write_data),
    ];
    Ok(program::print(json, &Report { cases })?)
}

#[derive(Serialize)]
struct Report {
    cases: Vec<Case>,
}

#[derive(Serialize)]
struct Case {
    name: &'static str,
    /// Nanoseconds for one frame: the median of all rounds.
    ns: f64,
    /// The fastest round.
    min_ns: f64,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:<24} {:>10} {:>10}", "one frame", "median ns", "least ns")?;
        let mut cases = self.cases.iter();
        cases.try_for_each(|Case { name, ns, min_ns }| writeln!(f, "{name:<24} {ns:>10.1} {min_ns:>10.1}"))
    }
}

fn measure(name: &'static str, rounds: u32, round: fn(&mut Bench) -> f64) -> Case {
    let mut bench = Bench::new();
    // Warms caches and the branch predictor up.
    for _ in 0..rounds.div_ceil(10) {
        round(&mut bench);
    }
    let mut ns: Vec<f64> = (0..rounds).map(|_| round(&mut bench)).collect();
    ns.sort_by(f64::total_cmp);
    Case { name, ns: ns[ns.len() / 2], min_ns: ns[0] }
}

struct Bench {
    core: Core<MemoryPort>,
    wire: MemoryWire,
    consumer: Consumer,
}

impl Bench {
    fn new() -> Self {
        let (port, wire) = memory::wire(MemoryConfig::default());
        let waker = || Arc::new(Waker::new().expect("a descriptor"));
        let mut core = Core::new(port, &CoreConfig { number: 0, cores: 1 }, waker(), waker());
        let consumer = core.attach_consumer(BATCH, waker());
        let nexus = Nexus {
            s_id: OURS,
            d_id: TARGET,
            source: OUR_MAC,
            destination: FCF_MAC,
            vlan: None,
            max_payload_len: MAX_PAYLOAD_LEN as u16,
            e_d_tov: Duration::from_secs(2),
            r_a_tov: Duration::from_secs(10),
        };
        core.control_link().send(ToCore::SetNexus(NEXUS, Box::new(nexus))).expect("an empty queue");
        core.step(Instant::ZERO);
        let mut bench = Self { core, wire, consumer };
        bench.answer_question();
        bench
    }

    /// The first command to a target is asked about. One that finds it is asked no more as long as it is quick.
    fn answer_question(&mut self) {
        self.submit(Transfer::None);
        let [command, question] = self.ox_ids(2)[..] else { unreachable!("two frames") };
        let status = ExchangeStatus {
            ox_id: command.into(),
            rx_id: UNASSIGNED_XID.into(),
            reserved: 0,
            originator: OURS,
            reserved_2: 0,
            responder: TARGET,
            fc4_value: 0.into(),
            e_stat: (ExchangeStatus::IS_RESPONDER | ExchangeStatus::HAS_INITIATIVE).into(),
        };
        let header = target_header(RCtl::ELS_REPLY, 0x98_0000, question);
        let header = FcHeader { fc_type: FcType::ELS, ..header };
        self.inject(&header, &ElsReply::Rec(status).to_payload());
        self.step();
        self.respond(&[command]);
    }

    /// Frames of read data to one command, at rising offsets.
    fn read_data(&mut self) -> f64 {
        self.submit(Transfer::Read(vec![0; BATCH * MAX_PAYLOAD_LEN].into()));
        let ox_id = self.ox_ids(1)[0];
        for i in 0..BATCH {
            let mut header = target_header(RCtl::DATA, 0x80_0008, ox_id);
            header.parameter.set(u32::try_from(i * MAX_PAYLOAD_LEN).expect("a few hundred KiB"));
            self.inject(&header, &[0x5a; MAX_PAYLOAD_LEN]);
        }
        let ns = self.step();
        self.respond(&[ox_id]);
        ns
    }

    fn response(&mut self) -> f64 {
        for _ in 0..BATCH {
            self.submit(Transfer::None);
        }
        let ox_ids = self.ox_ids(BATCH);
        self.respond(&ox_ids)
    }

    fn command(&mut self) -> f64 {
        for _ in 0..BATCH {
            self.submit(Transfer::None);
        }
        let ns = self.step();
        let ox_ids = self.sent(BATCH);
        self.respond(&ox_ids);
        ns
    }

    fn write_data(&mut self) -> f64 {
        let len = BATCH * MAX_PAYLOAD_LEN;
        self.submit(Transfer::Write(vec![0x5a; len].into()));
        let ox_id = self.ox_ids(1)[0];
        let burst_len = u32::try_from(len).expect("a few hundred KiB");
        let ready = FcpXferRdy { offset: 0.into(), burst_len: burst_len.into(), reserved: 0.into() };
        self.inject(&target_header(RCtl::DATA_DESCRIPTOR, 0x89_0000, ox_id), ready.as_bytes());
        let ns = self.step();
        self.sent(BATCH);
        self.respond(&[ox_id]);
        ns
    }

    fn submit(&mut self, transfer: Transfer) {
        let (lun, cdb) = (Lun::default(), Cdb::new(&[0x88, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 8, 0, 0]));
        let timeout = Duration::from_secs(30);
        let command = Command { tag: 0, nexus: NEXUS, lun, cdb, transfer, timeout };
        assert!(self.consumer.submit(command).is_ok(), "at most a batch is out");
    }

    /// Lets the core send what was submitted, and gives the OX_IDs.
    fn ox_ids(&mut self, count: usize) -> Vec<u16> {
        self.core.step(Instant::ZERO);
        self.sent(count)
    }

    /// The OX_IDs of the frames that the core has sent.
    fn sent(&mut self, count: usize) -> Vec<u16> {
        let read = |bytes: &[u8]| {
            let header = FcHeader::ref_from(&bytes[UNTAGGED_HEADER_LEN + PROLOGUE_LEN..]);
            header.expect("the core sends whole frames").0.ox_id.get()
        };
        let ox_ids: Vec<u16> = std::iter::from_fn(|| self.wire.pop_with(read)).collect();
        assert_eq!(ox_ids.len(), count, "frames were lost");
        ox_ids
    }

    /// Ends these commands and gives the nanoseconds for one response.
    fn respond(&mut self, ox_ids: &[u16]) -> f64 {
        let mut iu = [0; RSP_LEN];
        let len = FcpRsp::default().emit(&mut iu);
        for &ox_id in ox_ids {
            self.inject(&target_header(RCtl::STATUS, 0x98_0000, ox_id), &iu[..len]);
        }
        let ns = self.step();
        for _ in ox_ids {
            let completion = self.consumer.poll().expect("a command ends with its response");
            assert!(completion.result.is_ok(), "{:?}", completion.result);
        }
        ns
    }

    fn inject(&self, header: &FcHeader, payload: &[u8]) {
        let ethernet =
            EthernetHeader { destination: OUR_MAC, source: FCF_MAC, vlan: None, ethertype: EtherType::FCOE };
        let mut bytes = [0; fcoe::MAX_FRAME_LEN];
        let len = fcoe::emit(&mut bytes, &ethernet, Sof::I3, header, payload, Eof::T);
        assert!(self.wire.push(&bytes[..len]), "the ring holds a batch");
    }

    /// One step, in nanoseconds for each frame of a batch.
    fn step(&mut self) -> f64 {
        let start = std::time::Instant::now();
        self.core.step(Instant::ZERO);
        start.elapsed().as_nanos() as f64 / BATCH as f64
    }
}

fn target_header(r_ctl: RCtl, f_ctl: u32, ox_id: u16) -> FcHeader {
    FcHeader {
        r_ctl,
        d_id: OURS,
        cs_ctl: 0,
        s_id: TARGET,
        fc_type: FcType::FCP,
        f_ctl: FCtl::new(f_ctl),
        seq_id: 1,
        df_ctl: 0,
        seq_cnt: 0.into(),
        ox_id: ox_id.into(),
        rx_id: UNASSIGNED_XID.into(),
        parameter: 0.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_case_can_be_measured() {
        for round in [Bench::read_data, Bench::response, Bench::command, Bench::write_data] {
            assert!(measure("case", 3, round).ns > 0.0);
        }
    }
}

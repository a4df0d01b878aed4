//! What a SAN is made of.

use crate::faults::FaultsConfig;
use crate::scsi::PortAccess;
use fc::wire::fcoe;
use fc::wire::fip::{FcMap, FkaAdvPeriod, Flags};
use fc::wire::header::{MAX_PAYLOAD_LEN, MIN_MAX_PAYLOAD_LEN};
use fc::wire::{FcId, MacAddr, Wwn};
use serde::{Deserialize, Deserializer};
use std::fmt::Display;
use std::path::PathBuf;
use std::str::FromStr;
use thiserror::Error;

/// The most targets: they share one area, whose port 0 is not used.
pub const MAX_TARGETS: usize = 255;
/// The most LUNs of one target: those of single-level peripheral addressing.
pub const MAX_LUNS: usize = 256;

/// A whole SAN. Its default is one target with one RAM disk of 256 MiB.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SanConfig {
    /// What is around the targets.
    pub mode: Mode,
    /// The VLAN, 1..=4094: VLAN requests are answered with it and all else is tagged with it. Without one everything
    /// is untagged, and the answer is VLAN 0.
    pub vlan: Option<u16>,
    /// The switch; nothing in VN2VN.
    pub fcf: FcfConfig,
    /// The targets, at most [`MAX_TARGETS`].
    pub targets: Vec<TargetConfig>,
    /// R_A_TOV, which the fabric grants and RTV tells, in milliseconds.
    pub r_a_tov_ms: u32,
    /// E_D_TOV, in milliseconds.
    pub e_d_tov_ms: u32,
    /// The most payload bytes of an FC frame that fabric and targets take: 256..=2112, a multiple of four. The
    /// interface's MTU may allow less.
    pub max_payload_len: u16,
    /// The most bytes that one FCP_XFER_RDY asks for; 0 asks for a whole write at once.
    pub max_burst_len: u32,
    /// Whether targets send lost sequences again, by SRR, to initiators that agree to it in PRLI.
    pub retransmission: bool,
    /// Whether targets ask for FCP_CONF, from initiators that agree to it in PRLI.
    pub confirmation: bool,
    /// What goes wrong all along.
    pub faults: FaultsConfig,
    /// Where the program that runs the SAN takes orders: the path of a unix socket.
    pub control: Option<PathBuf>,
}

impl Default for SanConfig {
    fn default() -> Self {
        Self {
            mode: Mode::default(),
            vlan: None,
            fcf: FcfConfig::default(),
            targets: vec![TargetConfig::default()],
            r_a_tov_ms: 10_000,
            e_d_tov_ms: 2000,
            max_payload_len: MAX_PAYLOAD_LEN as u16,
            max_burst_len: 0,
            retransmission: true,
            confirmation: false,
            faults: FaultsConfig::default(),
            control: None,
        }
    }
}

/// How targets and initiators find each other.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// A switch with its name server is part of the SAN.
    #[default]
    Fabric,
    /// No switch: VN_Ports claim their addresses and log in to each other (FC-BB-6).
    Vn2vn,
}

/// The FCoE forwarder.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FcfConfig {
    /// Its MAC address.
    #[serde(deserialize_with = "from_text")]
    pub mac: MacAddr,
    /// The switch's name.
    #[serde(deserialize_with = "from_text")]
    pub switch_name: Wwn,
    /// The fabric's name.
    #[serde(deserialize_with = "from_text")]
    pub fabric_name: Wwn,
    /// The upper three bytes of the MAC addresses that it grants, such as `0e:fc:00`.
    #[serde(deserialize_with = "fc_map_from_text")]
    pub fc_map: FcMap,
    /// Its priority; the lowest number wins.
    pub priority: u8,
    /// FKA_ADV_PERIOD, in milliseconds: 250..=90000.
    pub fka_adv_period_ms: u32,
    /// Whether ENodes and VN_Ports must send keep-alives; without, advertisements carry the D bit.
    pub keep_alives: bool,
    /// The domain of its FC_IDs, 1..=239.
    pub domain: u8,
    /// Who provides the VN_Ports' MAC addresses.
    pub addressing: Addressing,
    /// Whether an ENode may have further N_Port_IDs by FDISC (NPIV).
    pub npiv: bool,
    /// Whether each initiator is in a zone of its own with all targets, so that it neither sees other initiators nor
    /// is told of them; without, everyone sees everyone.
    pub single_initiator_zones: bool,
}

/// Who provides the VN_Ports' MAC addresses (FC-BB-5, 7.7).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Addressing {
    /// The fabric, from FC-MAP and N_Port_ID.
    #[default]
    Fabric,
    /// The ENodes, which propose them.
    Server,
    /// Whoever the ENode wants it to be; the fabric, if it takes either.
    Both,
}

impl Addressing {
    /// The flags that say so.
    pub(crate) const fn flags(self) -> Flags {
        match self {
            Self::Fabric => Flags::FPMA,
            Self::Server => Flags::SPMA,
            Self::Both => Flags::FPMA.with(Flags::SPMA),
        }
    }
}

impl Default for FcfConfig {
    fn default() -> Self {
        let mac = MacAddr([0x02, 0xfc, 0xf0, 0, 0, 0x01]);
        Self {
            mac,
            switch_name: Wwn::from_mac(0x1000, mac),
            fabric_name: Wwn::from_mac(0x2001, mac),
            fc_map: FcMap::DEFAULT,
            priority: 128,
            fka_adv_period_ms: FkaAdvPeriod::DEFAULT_MS,
            keep_alives: true,
            domain: 1,
            addressing: Addressing::default(),
            npiv: true,
            single_initiator_zones: false,
        }
    }
}

/// A target port.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TargetConfig {
    /// Its port name.
    #[serde(deserialize_with = "from_text")]
    pub wwpn: Wwn,
    /// Its node name.
    #[serde(deserialize_with = "from_text")]
    pub wwnn: Wwn,
    /// Its ENode MAC address in VN2VN; by default the low six bytes of the port name.
    #[serde(deserialize_with = "some_from_text")]
    pub mac: Option<MacAddr>,
    /// How well it leads to them.
    pub access: PortAccess,
    /// Its LUNs from 0 on, at most [`MAX_LUNS`].
    pub luns: Vec<LunConfig>,
}

impl Default for TargetConfig {
    fn default() -> Self {
        Self {
            wwpn: Wwn::from_u64(0x2000_02fc_f000_0101),
            wwnn: Wwn::from_u64(0x1000_02fc_f000_0101),
            mac: None,
            access: PortAccess::default(),
            luns: vec![LunConfig::default()],
        }
    }
}

impl TargetConfig {
    /// Its ENode MAC address in VN2VN.
    pub(crate) fn enode_mac(&self) -> MacAddr {
        let [_, _, a, b, c, d, e, f] = self.wwpn.0;
        self.mac.unwrap_or(MacAddr([a, b, c, d, e, f]))
    }
}

/// A logical unit. LUNs of several targets that have the same serial number are one disk behind several ports,
/// and must agree in everything else but who sees them.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LunConfig {
    /// A file or block device that holds the data; without one it is in memory, and zero at first.
    pub file: Option<PathBuf>,
    /// Its size in bytes, a multiple of `block_bytes`; 0 with `file` takes the file's, rounded down.
    pub size_bytes: u64,
    /// Bytes of a logical block: 512 or 4096.
    pub block_bytes: u32,
    /// Whether writes are refused.
    pub read_only: bool,
    /// The serial number, printable ASCII, at most 32 bytes. An empty one is made from target and LUN.
    pub serial: String,
    /// The vendor, at most 8 bytes of ASCII.
    pub vendor: String,
    /// The product, at most 16 bytes of ASCII.
    pub product: String,
    /// The port names of the initiators that see it here; without any, all do.
    #[serde(deserialize_with = "all_from_text")]
    pub initiators: Vec<Wwn>,
}

impl Default for LunConfig {
    fn default() -> Self {
        Self {
            file: None,
            size_bytes: 256 << 20,
            block_bytes: 512,
            read_only: false,
            serial: String::new(),
            vendor: "XFCOE".into(),
            product: "SAN IN A BOX".into(),
            initiators: Vec::new(),
        }
    }
}

/// Why a SAN can't be made.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// A number out of its range.
    #[error("{field} is {value}; allowed are {allowed}")]
    OutOfRange {
        /// The setting.
        field: &'static str,
        /// What it is.
        value: u64,
        /// What it may be.
        allowed: &'static str,
    },
    /// A text that SCSI can't carry.
    #[error("{field} {value:?} is not up to {limit} bytes of printable ASCII")]
    BadText {
        /// The setting.
        field: &'static str,
        /// What it is.
        value: String,
        /// The most bytes.
        limit: usize,
    },
    /// No frame that a login may ask for fits the link.
    #[error(
        "an MTU of {mtu} is too small for FCoE, of which a full frame needs {FULL_MTU}; raise it by `ip link set .. mtu \
         2500`, and on the switch too",
        FULL_MTU = fcoe::MAX_LEN
    )]
    SmallMtu {
        /// The interface's MTU.
        mtu: u32,
    },
    /// An address that can't be a switch's.
    #[error("the FCF's MAC address {0} is a group address or zero; use one such as 02:fc:f0:00:00:01")]
    BadMac(MacAddr),
    /// An address that can't be an ENode's.
    #[error(
        "the MAC address {0} of a target is a group address, zero or another target's; set its `mac` to one such as 02:fc:f0:00:01:01"
    )]
    BadTargetMac(MacAddr),
    /// Two targets with one port name.
    #[error("two targets have the port name {0}; each needs its own")]
    SameName(Wwn),
    /// One serial number with different settings.
    #[error("LUNs with the serial number {0:?} are one disk and must have equal settings")]
    SerialsDiffer(String),
    /// The disk's file can't be used.
    #[error("can't use {path} as a disk: {error}; check that it exists, and its permissions")]
    File {
        /// The file.
        path: PathBuf,
        /// What happened.
        #[source]
        error: std::io::Error,
    },
}

impl SanConfig {
    /// The FIP group that the SAN's port must be in.
    pub fn group(&self) -> MacAddr {
        match self.mode {
            Mode::Fabric => MacAddr::ALL_FCF,
            Mode::Vn2vn => MacAddr::ALL_VN2VN_ENODE,
        }
    }

    /// Checks every number and text.
    ///
    /// # Errors
    /// [`ConfigError`] with the first setting that is wrong.
    pub fn check(&self) -> Result<(), ConfigError> {
        let range = |field, value: u64, holds: bool, allowed| {
            if holds { Ok(()) } else { Err(ConfigError::OutOfRange { field, value, allowed }) }
        };
        let fcf = &self.fcf;
        let payload = usize::from(self.max_payload_len);
        let payload_fits =
            (MIN_MAX_PAYLOAD_LEN..=MAX_PAYLOAD_LEN).contains(&payload) && payload.is_multiple_of(4);
        let period = fcf.fka_adv_period_ms;
        range("max_payload_len", payload as u64, payload_fits, "multiples of 4 from 256 to 2112")?;
        range("r_a_tov_ms", self.r_a_tov_ms.into(), self.r_a_tov_ms > 0, "1 and above")?;
        range("e_d_tov_ms", self.e_d_tov_ms.into(), self.e_d_tov_ms > 0, "1 and above")?;
        range(
            "max_burst_len",
            self.max_burst_len.into(),
            self.max_burst_len.is_multiple_of(4),
            "multiples of 4",
        )?;
        range("domain", fcf.domain.into(), (1..=239).contains(&fcf.domain), "1 to 239")?;
        range("fka_adv_period_ms", period.into(), (250..=90_000).contains(&period), "250 to 90000")?;
        if fcf.mac.is_multicast() || fcf.mac == MacAddr::ZERO {
            return Err(ConfigError::BadMac(fcf.mac));
        }
        let vlan = self.vlan.unwrap_or(1);
        range("vlan", vlan.into(), (1..=4094).contains(&vlan), "1 to 4094")?;
        range("number of targets", self.targets.len() as u64, self.targets.len() <= MAX_TARGETS, "0 to 255")?;
        for (at, target) in self.targets.iter().enumerate() {
            if self.targets[..at].iter().any(|other| other.wwpn == target.wwpn) {
                return Err(ConfigError::SameName(target.wwpn));
            }
            if self.mode == Mode::Vn2vn {
                let mac = target.enode_mac();
                if !mac.is_unicast() || self.targets[..at].iter().any(|other| other.enode_mac() == mac) {
                    return Err(ConfigError::BadTargetMac(mac));
                }
            }
            range("number of LUNs", target.luns.len() as u64, target.luns.len() <= MAX_LUNS, "0 to 256")?;
            target.luns.iter().try_for_each(LunConfig::check)?;
        }
        self.faults.check()
    }
}

impl LunConfig {
    fn check(&self) -> Result<(), ConfigError> {
        let (size, block) = (self.size_bytes, self.block_bytes);
        if !matches!(block, 512 | 4096) {
            let (field, allowed) = ("block_bytes", "512 and 4096");
            return Err(ConfigError::OutOfRange { field, value: block.into(), allowed });
        }
        let is_from_file = size == 0 && self.file.is_some();
        if !is_from_file && (size == 0 || !size.is_multiple_of(block.into())) {
            let allowed = "multiples of block_bytes above 0";
            return Err(ConfigError::OutOfRange { field: "size_bytes", value: size, allowed });
        }
        let texts =
            [("serial", &self.serial, 32), ("vendor", &self.vendor, 8), ("product", &self.product, 16)];
        for (field, text, limit) in texts {
            if text.len() > limit || !text.bytes().all(|byte| (0x20..0x7f).contains(&byte)) {
                return Err(ConfigError::BadText { field, value: text.clone(), limit });
            }
        }
        Ok(())
    }
}

/// Names and addresses are written as people write them.
fn from_text<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: FromStr<Err: Display>,
{
    String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
}

fn some_from_text<'de, D, T>(deserializer: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: FromStr<Err: Display>,
{
    from_text(deserializer).map(Some)
}

fn all_from_text<'de, D, T>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    D: Deserializer<'de>,
    T: FromStr<Err: Display>,
{
    let texts = Vec::<String>::deserialize(deserializer)?;
    texts.iter().map(|text| text.parse().map_err(serde::de::Error::custom)).collect()
}

/// An FC-MAP is three bytes, as an FC_ID is.
fn fc_map_from_text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<FcMap, D::Error> {
    from_text::<D, FcId>(deserializer).map(|bytes| FcMap(bytes.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_is_good_for_a_demo() {
        let config = SanConfig::default();
        config.check().unwrap();
        assert_eq!(config.targets[0].luns[0].size_bytes, 256 << 20);
    }

    #[test]
    fn a_file_says_what_differs() {
        let text = r#"
            r_a_tov_ms = 4000
            vlan = 100
            [fcf]
            mac = "02:00:00:00:00:07"
            fc_map = "0e:fc:01"
            [[targets]]
            wwpn = "20:00:00:00:00:00:00:01"
            luns = [{ size_bytes = 8192, block_bytes = 4096 }, { file = "/srv/disk", read_only = true }]
        "#;
        let config: SanConfig = toml::from_str(text).unwrap();
        config.check().unwrap();
        assert_eq!((config.r_a_tov_ms, config.e_d_tov_ms), (4000, 2000));
        assert_eq!((config.fcf.fc_map, config.vlan), (FcMap([0x0e, 0xfc, 1]), Some(100)));
        assert_eq!(config.targets[0].wwpn, Wwn::from_u64(0x2000_0000_0000_0001));
        assert_eq!(
            (config.targets[0].luns[0].block_bytes, config.targets[0].luns[1].read_only),
            (4096, true)
        );
        let error = toml::from_str::<SanConfig>("[fcf]\nmac = \"02:00\"").unwrap_err().to_string();
        assert!(error.contains("six hex bytes"), "{error}");
        assert!(toml::from_str::<SanConfig>("targetz = []").is_err());
    }

    #[test]
    fn what_is_out_of_range_is_named() {
        type Change = fn(&mut SanConfig);
        let changes: [(&str, Change); 10] = [
            ("max_payload_len", |c| c.max_payload_len = 2110),
            ("domain", |c| c.fcf.domain = 240),
            ("vlan", |c| c.vlan = Some(4095)),
            ("fka_adv_period_ms", |c| c.fcf.fka_adv_period_ms = 100),
            ("max_burst_len", |c| c.max_burst_len = 3),
            ("block_bytes", |c| c.targets[0].luns[0].block_bytes = 520),
            ("size_bytes", |c| c.targets[0].luns[0].size_bytes = 1000),
            ("vendor", |c| c.targets[0].luns[0].vendor = "much too long".into()),
            ("serial", |c| c.targets[0].luns[0].serial = "tab\t".into()),
            ("faults of commands", |c| (c.faults.busy_ppm, c.faults.stall_ppm) = (999_999, 2)),
        ];
        for (field, change) in changes {
            let mut config = SanConfig::default();
            change(&mut config);
            let error = config.check().unwrap_err().to_string();
            assert!(error.starts_with(field), "{error}");
        }
        let mut config = SanConfig::default();
        config.targets.push(TargetConfig::default());
        assert!(matches!(config.check(), Err(ConfigError::SameName(_))));
        config.fcf.mac = MacAddr::ALL_FCF;
        assert!(matches!(config.check(), Err(ConfigError::BadMac(_))));
    }

    #[test]
    fn targets_without_a_switch_need_mac_addresses_of_their_own() {
        let mut config = SanConfig { mode: Mode::Vn2vn, ..SanConfig::default() };
        assert_eq!(config.targets[0].enode_mac(), MacAddr([2, 0xfc, 0xf0, 0, 1, 1]));
        config
            .targets
            .push(TargetConfig { wwpn: Wwn::from_u64(0x3000_02fc_f000_0101), ..TargetConfig::default() });
        let said = |config: &SanConfig| config.check().unwrap_err().to_string();
        assert!(said(&config).starts_with("the MAC address 02:fc:f0:00:01:01 of a target is"));
        config.targets[1].mac = Some(MacAddr([2, 0, 0, 0, 0, 1]));
        config.check().unwrap();
        config.targets[1].mac = Some(MacAddr::ALL_FCF);
        assert!(matches!(config.check(), Err(ConfigError::BadTargetMac(MacAddr::ALL_FCF))));
        config.mode = Mode::Fabric;
        config.check().unwrap();
    }
}

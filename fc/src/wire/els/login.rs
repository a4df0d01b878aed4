//! Service parameters of FLOGI, FDISC, PLOGI, PDISC and their LS_ACC (FC-LS-3, 6.6).

use crate::time::Duration;
use crate::wire::Wwn;
use crate::wire::header::MAX_PAYLOAD_LEN;
use zerocopy::byteorder::big_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// The body of a login or of its LS_ACC: 112 bytes after the command word.
#[derive(Clone, Copy, PartialEq, Eq, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct Login {
    /// What holds for every class.
    pub common: CommonParameters,
    /// WWPN of the port that speaks; in an FLOGI's LS_ACC, the F_Port's.
    pub port_name: Wwn,
    /// WWNN of its node; in an FLOGI's LS_ACC, the fabric's name.
    pub node_name: Wwn,
    /// Class 1, obsolete.
    pub class_1: ClassParameters,
    /// Class 2.
    pub class_2: ClassParameters,
    /// Class 3: the only one that FCoE initiators and targets use.
    pub class_3: ClassParameters,
    /// Class 4, obsolete: auxiliary parameters.
    pub class_4: ClassParameters,
    /// A vendor's own.
    pub vendor: [u8; 16],
}

impl Login {
    /// An FLOGI or FDISC of an N_Port that takes `receive_len` bytes of payload a frame.
    pub fn fabric(port_name: Wwn, node_name: Wwn, receive_len: u16) -> Self {
        let mut login = Self::blank(port_name, node_name, receive_len);
        login.common.features = common_features::MULTIPLE_N_PORT_IDS.into();
        login.class_3.options = (class_options::VALID | class_options::SEQUENTIAL_DELIVERY).into();
        login
    }

    /// A PLOGI, or an LS_ACC to one, of an N_Port that takes `receive_len` bytes of payload a frame.
    pub fn n_port(port_name: Wwn, node_name: Wwn, receive_len: u16, e_d_tov: Duration) -> Self {
        /// What Linux offers as well: more than anyone opens.
        const CONCURRENT_SEQUENCES: u16 = 255;
        /// Relative offsets by every information category that the field has bits for.
        const RELATIVE_OFFSET_CATEGORIES: u16 = 0x1f;

        let mut login = Self::blank(port_name, node_name, receive_len);
        login.common.features = common_features::CONTINUOUSLY_INCREASING_OFFSET.into();
        login.common.by_login =
            (u32::from(CONCURRENT_SEQUENCES) << 16 | u32::from(RELATIVE_OFFSET_CATEGORIES)).into();
        login.common.e_d_tov = u32::try_from(e_d_tov.as_millis()).unwrap_or(u32::MAX).into();
        login.class_3 = ClassParameters {
            options: (class_options::VALID | class_options::SEQUENTIAL_DELIVERY).into(),
            receive_size: receive_len.into(),
            concurrent_sequences: CONCURRENT_SEQUENCES.into(),
            open_sequences: 1,
            ..ClassParameters::default()
        };
        login
    }

    fn blank(port_name: Wwn, node_name: Wwn, receive_len: u16) -> Self {
        /// What Linux offers; without a meaning over Ethernet.
        const BB_CREDIT: u16 = 10;
        Self {
            common: CommonParameters {
                highest_version: 0x20,
                lowest_version: 0x20,
                bb_credit: BB_CREDIT.into(),
                receive_size: receive_len.into(),
                ..CommonParameters::default()
            },
            port_name,
            node_name,
            class_1: ClassParameters::default(),
            class_2: ClassParameters::default(),
            class_3: ClassParameters::default(),
            class_4: ClassParameters::default(),
            vendor: [0; 16],
        }
    }

    /// The most payload bytes of a class 3 frame that the sender of this PLOGI or LS_ACC takes. A field that is
    /// zero counts as not there: some ports fill in one of the two only.
    pub fn class_3_payload_len(&self) -> u16 {
        let common = self.common.receive_len();
        match self.class_3.receive_len() {
            0 => common,
            class_3 if common == 0 => class_3,
            class_3 => class_3.min(common),
        }
    }
}

/// Common service parameters (FC-LS-3, 6.6.2).
#[derive(
    Clone, Copy, PartialEq, Eq, Debug, Default, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned,
)]
#[repr(C)]
pub struct CommonParameters {
    /// Highest version of FC-PH, 0x20.
    pub highest_version: u8,
    /// Lowest version of FC-PH, 0x20.
    pub lowest_version: u8,
    /// Buffer-to-buffer credit; without a meaning over Ethernet.
    pub bb_credit: U16,
    /// [`common_features`].
    pub features: U16,
    /// BB_SC_N (bits 15:12) and the receive data field size; see [`Self::receive_len`].
    pub receive_size: U16,
    /// In an FLOGI's or FDISC's LS_ACC: R_A_TOV in ms. In a PLOGI and its LS_ACC: total concurrent sequences
    /// (bits 31:16) and relative offset by category (bits 15:0).
    pub by_login: U32,
    /// E_D_TOV in ms, or in ns with [`common_features::E_D_TOV_IN_NS`].
    pub e_d_tov: U32,
}

impl CommonParameters {
    /// The most payload bytes of a frame that the sender takes: 256..=2112 by the standard.
    pub fn receive_len(&self) -> u16 {
        self.receive_size.get() & 0x0fff
    }

    /// Whether all bits of [`common_features`] in `features` are set.
    pub fn has(&self, features: u16) -> bool {
        self.features.get() & features == features
    }

    /// R_A_TOV of an FLOGI's or FDISC's LS_ACC.
    pub fn r_a_tov(&self) -> Duration {
        Duration::from_millis(self.by_login.get().into())
    }

    /// E_D_TOV of an LS_ACC or of a PLOGI.
    pub fn e_d_tov(&self) -> Duration {
        let value = self.e_d_tov.get().into();
        if self.has(common_features::E_D_TOV_IN_NS) {
            Duration::from_nanos(value)
        } else {
            Duration::from_millis(value)
        }
    }
}

/// Bits of [`CommonParameters::features`]; some mean one thing in each login.
pub mod common_features {
    /// FLOGI: the port can have several N_Port_IDs.
    pub const MULTIPLE_N_PORT_IDS: u16 = 0x8000;
    /// PLOGI: relative offsets grow continuously.
    pub const CONTINUOUSLY_INCREASING_OFFSET: u16 = 0x8000;
    /// FLOGI's LS_ACC: the fabric keeps no state of an earlier use of the N_Port_ID.
    pub const CLEAN_ADDRESS: u16 = 0x8000;
    /// PLOGI: relative offsets may start anywhere.
    pub const RANDOM_OFFSET: u16 = 0x4000;
    /// FLOGI's LS_ACC: FDISC gives further N_Port_IDs.
    pub const NPIV: u16 = 0x2000;
    /// The sender is an F_Port.
    pub const F_PORT: u16 = 0x1000;
    /// E_D_TOV is in nanoseconds.
    pub const E_D_TOV_IN_NS: u16 = 0x0400;
    /// Asks for payloads of 256 bytes.
    pub const PAYLOAD_LEN_256: u16 = 0x0001;
}

/// Service parameters of one class (FC-LS-3, 6.6.3).
#[derive(
    Clone, Copy, PartialEq, Eq, Debug, Default, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned,
)]
#[repr(C)]
pub struct ClassParameters {
    /// [`class_options`].
    pub options: U16,
    /// Initiator control.
    pub initiator_control: U16,
    /// Recipient control.
    pub recipient_control: U16,
    /// Receive data field size.
    pub receive_size: U16,
    /// Total concurrent sequences.
    pub concurrent_sequences: U16,
    /// End-to-end credit; not for class 3.
    pub end_to_end_credit: U16,
    /// Reserved.
    pub reserved: u8,
    /// Open sequences an exchange.
    pub open_sequences: u8,
    /// Class 6 and reserved.
    pub class_6: U16,
}

impl ClassParameters {
    /// Whether the class is supported.
    pub fn is_valid(&self) -> bool {
        self.options.get() & class_options::VALID != 0
    }

    /// The most payload bytes of a frame of this class.
    pub fn receive_len(&self) -> u16 {
        self.receive_size.get() & 0x0fff
    }
}

/// Bits of [`ClassParameters::options`].
pub mod class_options {
    /// The class is supported.
    pub const VALID: u16 = 0x8000;
    /// Frames are wanted, or come, in order.
    pub const SEQUENTIAL_DELIVERY: u16 = 0x0800;
}

const _: () = assert!(size_of::<Login>() == 112 && MAX_PAYLOAD_LEN < 0x1000);

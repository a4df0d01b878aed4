//! Faults to order: what a real SAN does now and then, when a test wants it.

use fc::wire::scsi::{Sense, Status};

/// Something that goes wrong on purpose.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    /// A command ends at once with this status, and with sense data if it is CHECK CONDITION.
    Refuse(Status, Option<Sense>),
    /// An FCP_CMND never arrived.
    LoseCommand,
    /// An FCP_XFER_RDY is not sent.
    LoseXferRdy,
    /// A frame of read data is not sent.
    LoseData,
    /// A frame of read data is sent with a wrong CRC.
    DamageData,
    /// An FCP_RSP is not sent; the target takes the exchange for ended.
    LoseResponse,
}

/// Faults ordered and not yet happened.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    refusals: Ordered,
    refusal: Option<(Status, Option<Sense>)>,
    pub(crate) commands: Ordered,
    pub(crate) xfer_rdys: Ordered,
    pub(crate) data: Ordered,
    pub(crate) damaged_data: Ordered,
    pub(crate) responses: Ordered,
}

/// How often one fault is still to happen.
#[derive(Debug, Default)]
pub(crate) struct Ordered(u32);

impl Ordered {
    /// Whether it happens now.
    pub(crate) fn take(&mut self) -> bool {
        let happens = self.0 > 0;
        self.0 -= u32::from(happens);
        happens
    }
}

impl Faults {
    /// The next `count` occasions have this fault.
    pub(crate) fn order(&mut self, fault: Fault, count: u32) {
        let ordered = match fault {
            Fault::Refuse(status, sense) => {
                self.refusal = Some((status, sense));
                &mut self.refusals
            }
            Fault::LoseCommand => &mut self.commands,
            Fault::LoseXferRdy => &mut self.xfer_rdys,
            Fault::LoseData => &mut self.data,
            Fault::DamageData => &mut self.damaged_data,
            Fault::LoseResponse => &mut self.responses,
        };
        *ordered = Ordered(count);
    }

    /// How the command that came is to be refused.
    pub(crate) fn take_refusal(&mut self) -> Option<(Status, Option<Sense>)> {
        if self.refusals.take() { self.refusal } else { None }
    }
}

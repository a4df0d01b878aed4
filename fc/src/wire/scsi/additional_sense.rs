//! Additional sense codes and their names (SPC-4, 4.5.6 and annex F).

use core::fmt;

/// ASC and ASCQ: what exactly happened.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AdditionalSense {
    /// ADDITIONAL SENSE CODE.
    pub asc: u8,
    /// ADDITIONAL SENSE CODE QUALIFIER.
    pub ascq: u8,
}

impl AdditionalSense {
    /// Nothing to add.
    pub const NONE: Self = Self::new(0x00, 0x00);
    /// NOT READY: the cause isn't reportable.
    pub const NOT_READY: Self = Self::new(0x04, 0x00);
    /// NOT READY: it will be, by itself.
    pub const BECOMING_READY: Self = Self::new(0x04, 0x01);
    /// NOT READY: it waits for START STOP UNIT.
    pub const START_NEEDED: Self = Self::new(0x04, 0x02);
    /// NOT READY: the target port's access state changes right now.
    pub const ACCESS_STATE_TRANSITION: Self = Self::new(0x04, 0x0a);
    /// NOT READY: the target port is in standby.
    pub const PORT_IN_STANDBY: Self = Self::new(0x04, 0x0b);
    /// NOT READY: the target port is in the state unavailable.
    pub const PORT_UNAVAILABLE: Self = Self::new(0x04, 0x0c);
    /// Data could not be read.
    pub const UNRECOVERED_READ_ERROR: Self = Self::new(0x11, 0x00);
    /// The parameter list ends early.
    pub const PARAMETER_LIST_LENGTH_ERROR: Self = Self::new(0x1a, 0x00);
    /// Data compared isn't the same.
    pub const MISCOMPARE: Self = Self::new(0x1d, 0x00);
    /// The target doesn't know the operation.
    pub const INVALID_OPERATION_CODE: Self = Self::new(0x20, 0x00);
    /// Blocks behind the end.
    pub const LBA_OUT_OF_RANGE: Self = Self::new(0x21, 0x00);
    /// A field of the CDB isn't allowed.
    pub const INVALID_FIELD_IN_CDB: Self = Self::new(0x24, 0x00);
    /// There is no such logical unit.
    pub const LUN_NOT_SUPPORTED: Self = Self::new(0x25, 0x00);
    /// A field of the parameter list isn't allowed.
    pub const INVALID_FIELD_IN_PARAMETER_LIST: Self = Self::new(0x26, 0x00);
    /// A release of a reservation that isn't held.
    pub const INVALID_RELEASE: Self = Self::new(0x26, 0x04);
    /// The logical unit takes no writes.
    pub const WRITE_PROTECTED: Self = Self::new(0x27, 0x00);
    /// Power on, reset or bus device reset.
    pub const POWER_ON_OR_RESET: Self = Self::new(0x29, 0x00);
    /// A logical unit or its target was reset.
    pub const BUS_DEVICE_RESET: Self = Self::new(0x29, 0x03);
    /// The nexus was lost.
    pub const I_T_NEXUS_LOSS: Self = Self::new(0x29, 0x07);
    /// Mode parameters changed.
    pub const MODE_PARAMETERS_CHANGED: Self = Self::new(0x2a, 0x01);
    /// Another initiator preempted the reservations.
    pub const RESERVATIONS_PREEMPTED: Self = Self::new(0x2a, 0x03);
    /// Another initiator released the reservations.
    pub const RESERVATIONS_RELEASED: Self = Self::new(0x2a, 0x04);
    /// Another initiator preempted the registration.
    pub const REGISTRATIONS_PREEMPTED: Self = Self::new(0x2a, 0x05);
    /// The state of asymmetric access changed.
    pub const ASYMMETRIC_ACCESS_CHANGED: Self = Self::new(0x2a, 0x06);
    /// The capacity changed.
    pub const CAPACITY_CHANGED: Self = Self::new(0x2a, 0x09);
    /// Another initiator cleared this one's commands.
    pub const COMMANDS_CLEARED: Self = Self::new(0x2f, 0x00);
    /// No medium in the drive.
    pub const MEDIUM_NOT_PRESENT: Self = Self::new(0x3a, 0x00);
    /// The INQUIRY data changed.
    pub const INQUIRY_DATA_CHANGED: Self = Self::new(0x3f, 0x03);
    /// The target's list of LUNs changed.
    pub const LUNS_CHANGED: Self = Self::new(0x3f, 0x0e);
    /// Something inside the target failed.
    pub const INTERNAL_TARGET_FAILURE: Self = Self::new(0x44, 0x00);
    /// No room for another registration.
    pub const INSUFFICIENT_REGISTRATION_RESOURCES: Self = Self::new(0x55, 0x04);
    /// A thin logical unit used up its pool.
    pub const SPACE_ALLOCATION_FAILED: Self = Self::new(0x27, 0x07);

    /// The code and its qualifier.
    pub const fn new(asc: u8, ascq: u8) -> Self {
        Self { asc, ascq }
    }

    /// The standard's words for it, in lower case; `None` for a code that isn't known here.
    pub fn name(self) -> Option<&'static str> {
        let at = NAMES.binary_search_by_key(&(self.asc, self.ascq), |&(asc, ascq, _)| (asc, ascq)).ok()?;
        Some(NAMES[at].2)
    }
}

impl fmt::Display for AdditionalSense {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "additional sense {:02x}/{:02x}", self.asc, self.ascq),
        }
    }
}

impl fmt::Debug for AdditionalSense {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:02x}/{:02x}", self.asc, self.ascq)
    }
}

/// Names of the codes that disks and their controllers report, in the codes' order.
const NAMES: &[(u8, u8, &str)] = &[
    (0x00, 0x00, "no additional sense information"),
    (0x00, 0x06, "I/O process terminated"),
    (0x00, 0x16, "operation in progress"),
    (0x00, 0x1d, "ATA pass through information available"),
    (0x01, 0x00, "no index/sector signal"),
    (0x02, 0x00, "no seek complete"),
    (0x03, 0x00, "peripheral device write fault"),
    (0x04, 0x00, "logical unit not ready, cause not reportable"),
    (0x04, 0x01, "logical unit is in process of becoming ready"),
    (0x04, 0x02, "logical unit not ready, initializing command required"),
    (0x04, 0x03, "logical unit not ready, manual intervention required"),
    (0x04, 0x04, "logical unit not ready, format in progress"),
    (0x04, 0x05, "logical unit not ready, rebuild in progress"),
    (0x04, 0x07, "logical unit not ready, operation in progress"),
    (0x04, 0x09, "logical unit not ready, self-test in progress"),
    (0x04, 0x0a, "logical unit not accessible, asymmetric access state transition"),
    (0x04, 0x0b, "logical unit not accessible, target port in standby state"),
    (0x04, 0x0c, "logical unit not accessible, target port in unavailable state"),
    (0x04, 0x11, "logical unit not ready, notify (enable spinup) required"),
    (0x04, 0x12, "logical unit not ready, offline"),
    (0x04, 0x14, "logical unit not ready, space allocation in progress"),
    (0x04, 0x1b, "logical unit not ready, sanitize in progress"),
    (0x05, 0x00, "logical unit does not respond to selection"),
    (0x08, 0x00, "logical unit communication failure"),
    (0x08, 0x01, "logical unit communication time-out"),
    (0x09, 0x00, "track following error"),
    (0x0a, 0x00, "error log overflow"),
    (0x0b, 0x00, "warning"),
    (0x0b, 0x01, "warning - specified temperature exceeded"),
    (0x0b, 0x02, "warning - enclosure degraded"),
    (0x0c, 0x00, "write error"),
    (0x0c, 0x02, "write error - auto reallocation failed"),
    (0x0c, 0x03, "write error - recommend reassignment"),
    (0x0c, 0x0b, "auxiliary memory write error"),
    (0x0c, 0x0c, "write error - unexpected unsolicited data"),
    (0x0c, 0x0d, "write error - not enough unsolicited data"),
    (0x0e, 0x00, "invalid information unit"),
    (0x0e, 0x01, "information unit too short"),
    (0x0e, 0x02, "information unit too long"),
    (0x0e, 0x03, "invalid field in command information unit"),
    (0x10, 0x00, "ID CRC or ECC error"),
    (0x10, 0x01, "logical block guard check failed"),
    (0x10, 0x02, "logical block application tag check failed"),
    (0x10, 0x03, "logical block reference tag check failed"),
    (0x11, 0x00, "unrecovered read error"),
    (0x11, 0x01, "read retries exhausted"),
    (0x11, 0x04, "unrecovered read error - auto reallocate failed"),
    (0x11, 0x0b, "unrecovered read error - recommend reassignment"),
    (0x11, 0x0c, "unrecovered read error - recommend rewrite the data"),
    (0x11, 0x14, "read error - LBA marked bad by application client"),
    (0x14, 0x00, "recorded entity not found"),
    (0x14, 0x01, "record not found"),
    (0x15, 0x00, "random positioning error"),
    (0x16, 0x00, "data synchronization mark error"),
    (0x17, 0x00, "recovered data with no error correction applied"),
    (0x17, 0x01, "recovered data with retries"),
    (0x18, 0x00, "recovered data with error correction applied"),
    (0x18, 0x02, "recovered data - data auto-reallocated"),
    (0x19, 0x00, "defect list error"),
    (0x1a, 0x00, "parameter list length error"),
    (0x1b, 0x00, "synchronous data transfer error"),
    (0x1d, 0x00, "miscompare during verify operation"),
    (0x20, 0x00, "invalid command operation code"),
    (0x20, 0x02, "access denied - no access rights"),
    (0x21, 0x00, "logical block address out of range"),
    (0x21, 0x04, "unaligned write command"),
    (0x21, 0x05, "write boundary violation"),
    (0x21, 0x06, "attempt to read invalid data"),
    (0x22, 0x00, "illegal function"),
    (0x24, 0x00, "invalid field in CDB"),
    (0x24, 0x01, "CDB decryption error"),
    (0x25, 0x00, "logical unit not supported"),
    (0x26, 0x00, "invalid field in parameter list"),
    (0x26, 0x01, "parameter not supported"),
    (0x26, 0x02, "parameter value invalid"),
    (0x26, 0x03, "threshold parameters not supported"),
    (0x26, 0x04, "invalid release of persistent reservation"),
    (0x26, 0x06, "too many target descriptors"),
    (0x26, 0x07, "unsupported target descriptor type code"),
    (0x26, 0x08, "too many segment descriptors"),
    (0x27, 0x00, "write protected"),
    (0x27, 0x01, "hardware write protected"),
    (0x27, 0x02, "logical unit software write protected"),
    (0x27, 0x07, "space allocation failed write protect"),
    (0x27, 0x08, "zone is read only"),
    (0x28, 0x00, "not ready to ready change, medium may have changed"),
    (0x29, 0x00, "power on, reset, or bus device reset occurred"),
    (0x29, 0x01, "power on occurred"),
    (0x29, 0x02, "SCSI bus reset occurred"),
    (0x29, 0x03, "bus device reset function occurred"),
    (0x29, 0x04, "device internal reset"),
    (0x29, 0x05, "transceiver mode changed to single-ended"),
    (0x29, 0x06, "transceiver mode changed to LVD"),
    (0x29, 0x07, "I_T nexus loss occurred"),
    (0x2a, 0x00, "parameters changed"),
    (0x2a, 0x01, "mode parameters changed"),
    (0x2a, 0x02, "log parameters changed"),
    (0x2a, 0x03, "reservations preempted"),
    (0x2a, 0x04, "reservations released"),
    (0x2a, 0x05, "registrations preempted"),
    (0x2a, 0x06, "asymmetric access state changed"),
    (0x2a, 0x07, "implicit asymmetric access state transition failed"),
    (0x2a, 0x08, "priority changed"),
    (0x2a, 0x09, "capacity data has changed"),
    (0x2a, 0x10, "timestamp changed"),
    (0x2b, 0x00, "copy cannot execute since host cannot disconnect"),
    (0x2c, 0x00, "command sequence error"),
    (0x2c, 0x09, "previous reservation conflict status"),
    (0x2f, 0x00, "commands cleared by another initiator"),
    (0x2f, 0x01, "commands cleared by power loss notification"),
    (0x2f, 0x02, "commands cleared by device server"),
    (0x30, 0x00, "incompatible medium installed"),
    (0x31, 0x00, "medium format corrupted"),
    (0x31, 0x01, "format command failed"),
    (0x32, 0x00, "no defect spare location available"),
    (0x34, 0x00, "enclosure failure"),
    (0x35, 0x00, "enclosure services failure"),
    (0x37, 0x00, "rounded parameter"),
    (0x38, 0x07, "thin provisioning soft threshold reached"),
    (0x39, 0x00, "saving parameters not supported"),
    (0x3a, 0x00, "medium not present"),
    (0x3d, 0x00, "invalid bits in identify message"),
    (0x3e, 0x00, "logical unit has not self-configured yet"),
    (0x3e, 0x01, "logical unit failure"),
    (0x3e, 0x02, "timeout on logical unit"),
    (0x3f, 0x00, "target operating conditions have changed"),
    (0x3f, 0x01, "microcode has been changed"),
    (0x3f, 0x02, "changed operating definition"),
    (0x3f, 0x03, "INQUIRY data has changed"),
    (0x3f, 0x05, "device identifier changed"),
    (0x3f, 0x0a, "volume set created or modified"),
    (0x3f, 0x0e, "reported LUNs data has changed"),
    (0x40, 0x00, "RAM failure"),
    (0x41, 0x00, "data path failure"),
    (0x42, 0x00, "power-on or self-test failure"),
    (0x43, 0x00, "message error"),
    (0x44, 0x00, "internal target failure"),
    (0x44, 0x71, "ATA device failed set features"),
    (0x45, 0x00, "select or reselect failure"),
    (0x47, 0x00, "SCSI parity error"),
    (0x47, 0x01, "data phase CRC error detected"),
    (0x47, 0x03, "information unit iuCRC error detected"),
    (0x48, 0x00, "initiator detected error message received"),
    (0x49, 0x00, "invalid message error"),
    (0x4b, 0x00, "data phase error"),
    (0x4b, 0x02, "too much write data"),
    (0x4b, 0x03, "ACK/NAK timeout"),
    (0x4b, 0x04, "NAK received"),
    (0x4b, 0x05, "data offset error"),
    (0x4b, 0x06, "initiator response timeout"),
    (0x4c, 0x00, "logical unit failed self-configuration"),
    (0x4e, 0x00, "overlapped commands attempted"),
    (0x53, 0x00, "media load or eject failed"),
    (0x53, 0x02, "medium removal prevented"),
    (0x55, 0x01, "system buffer full"),
    (0x55, 0x02, "insufficient reservation resources"),
    (0x55, 0x03, "insufficient resources"),
    (0x55, 0x04, "insufficient registration resources"),
    (0x5a, 0x01, "operator medium removal request"),
    (0x5d, 0x00, "failure prediction threshold exceeded"),
    (0x5d, 0x10, "hardware impending failure"),
    (0x5d, 0xff, "failure prediction threshold exceeded (false)"),
    (0x5e, 0x00, "low power condition on"),
    (0x65, 0x00, "voltage fault"),
    (0x67, 0x0a, "set target port groups command failed"),
    (0x74, 0x71, "logical unit access not authorized"),
];

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::ToString;

    #[test]
    fn names_are_in_the_order_that_the_search_needs() {
        assert!(NAMES.is_sorted_by(|a, b| (a.0, a.1) < (b.0, b.1)));
    }

    #[test]
    fn codes_print() {
        assert_eq!(AdditionalSense::LUNS_CHANGED.to_string(), "reported LUNs data has changed");
        assert_eq!(AdditionalSense::new(0x99, 1).to_string(), "additional sense 99/01");
    }
}

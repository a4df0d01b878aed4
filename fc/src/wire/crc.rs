//! The FC CRC (FC-FS-3, 5.4): CRC-32 as in Ethernet, over header, payload and fill bytes.

/// The CRC of an FC frame from its header to its last fill byte. It stands on the wire in little-endian order.
#[inline]
pub fn fc_crc(frame: &[u8]) -> u32 {
    crc32fast::hash(frame)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_captured_rtv_request_has_its_crc() {
        let rtv = [
            0x22, 0, 0, 1, 0, 0, 0, 2, 0x01, 0x29, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0, 0, 0, 0, 0x0e, 0,
            0, 0,
        ];
        assert_eq!(fc_crc(&rtv).to_le_bytes(), [0xe3, 0xc3, 0x9c, 0x21]);
    }
}

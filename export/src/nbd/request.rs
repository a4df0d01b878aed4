//! Requests of the transmission phase, and what is wrong with them ("Request message", "Error values").

use super::wire::{REQUEST_MAGIC, command, command_flag, error};
use super::{MAX_REQUEST_LEN, ProtocolError};
use crate::block::Geometry;

/// Bytes of a request without its data.
pub(super) const REQUEST_LEN: usize = 28;

/// A request as it is on the wire.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Request {
    pub(super) flags: u16,
    pub(super) command: u16,
    /// Comes back in the reply.
    pub(super) cookie: u64,
    pub(super) offset: u64,
    pub(super) len: u32,
}

/// What is to be done for a request that is as it should be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Work {
    Read,
    Write,
    Flush,
    Trim,
    WriteZeroes,
}

impl Request {
    pub(super) fn parse(bytes: &[u8; REQUEST_LEN]) -> Result<Self, ProtocolError> {
        let [m0, m1, m2, m3, f0, f1, c0, c1, rest @ ..] = *bytes;
        let magic = u32::from_be_bytes([m0, m1, m2, m3]);
        if magic != REQUEST_MAGIC {
            return Err(ProtocolError::Magic { found: magic.into(), expected: REQUEST_MAGIC.into() });
        }
        let long = |at: usize| u64::from_be_bytes(rest[at..at + 8].try_into().expect("eight bytes"));
        let request = Self {
            flags: u16::from_be_bytes([f0, f1]),
            command: u16::from_be_bytes([c0, c1]),
            cookie: long(0),
            offset: long(8),
            len: u32::from_be_bytes(rest[16..].try_into().expect("four bytes")),
        };
        if request.payload_len() > MAX_REQUEST_LEN {
            return Err(ProtocolError::LongWrite(request.len));
        }
        Ok(request)
    }

    /// Bytes of data that follow the request, whether it is right or wrong.
    pub(super) fn payload_len(&self) -> u32 {
        if self.command == command::WRITE { self.len } else { 0 }
    }

    /// Bytes of data that it takes to hold the request or its reply.
    pub(super) fn held_len(&self) -> u32 {
        if matches!(self.command, command::READ | command::WRITE) { self.len } else { 0 }
    }

    pub(super) fn fua(&self) -> bool {
        self.flags & command_flag::FUA != 0
    }

    /// What is to be done, or the error for the reply.
    pub(super) fn check(&self, geometry: &Geometry, structured: bool) -> Result<Work, u32> {
        let df = if structured { command_flag::DF } else { 0 };
        let (work, flags) = match self.command {
            command::READ => (Work::Read, command_flag::FUA | df),
            command::WRITE => (Work::Write, command_flag::FUA),
            command::FLUSH => (Work::Flush, command_flag::FUA),
            command::TRIM if geometry.discard || geometry.read_only => (Work::Trim, command_flag::FUA),
            command::WRITE_ZEROES => (Work::WriteZeroes, command_flag::FUA | command_flag::NO_HOLE),
            _ => return Err(error::EINVAL),
        };
        let changes = matches!(work, Work::Write | Work::Trim | Work::WriteZeroes);
        let len = u64::from(self.len);
        if self.flags & !flags != 0 {
            Err(error::EINVAL)
        } else if work == Work::Flush {
            // Offset and length mean nothing.
            Ok(work)
        } else if changes && geometry.read_only {
            Err(error::EPERM)
        } else if !geometry.contains(self.offset, len) {
            Err(if changes { error::ENOSPC } else { error::EINVAL })
        } else if len == 0 || !geometry.is_aligned(self.offset, len) || self.held_len() > MAX_REQUEST_LEN {
            Err(error::EINVAL)
        } else {
            Ok(work)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrong_requests_have_the_errors_that_the_protocol_names() {
        let disk = Geometry {
            block_len: 4096,
            blocks: 1 << 20,
            max_operation_len: 65536,
            read_only: false,
            discard: false,
        };
        let read_only = Geometry { read_only: true, ..disk.clone() };
        let request = |command, flags, offset, len| Request { flags, command, cookie: 0, offset, len };
        let end = disk.len();
        for (request, geometry, result) in [
            (request(command::READ, command_flag::DF, 4096, 4096), &disk, Ok(Work::Read)),
            (request(command::READ, 0, 512, 4096), &disk, Err(error::EINVAL)),
            (request(command::READ, 0, 0, 0), &disk, Err(error::EINVAL)),
            (request(command::READ, 0, end, 4096), &disk, Err(error::EINVAL)),
            (request(command::READ, 0, 0, MAX_REQUEST_LEN + 4096), &disk, Err(error::EINVAL)),
            (request(command::READ, 1 << 9, 0, 4096), &disk, Err(error::EINVAL)),
            (request(command::WRITE, command_flag::FUA, end - 4096, 4096), &disk, Ok(Work::Write)),
            (request(command::WRITE, 0, end - 4096, 8192), &disk, Err(error::ENOSPC)),
            (request(command::WRITE, 0, u64::MAX - 4095, 4096), &disk, Err(error::ENOSPC)),
            (request(command::WRITE, 0, 0, 4096), &read_only, Err(error::EPERM)),
            (request(command::FLUSH, 0, 1, 1), &read_only, Ok(Work::Flush)),
            (request(command::TRIM, 0, 0, 4096), &disk, Err(error::EINVAL)),
            (request(command::WRITE_ZEROES, command_flag::NO_HOLE, 0, 1 << 31), &disk, Ok(Work::WriteZeroes)),
            (request(command::WRITE_ZEROES, 1 << 4, 0, 4096), &disk, Err(error::EINVAL)),
            (request(7, 0, 0, 4096), &disk, Err(error::EINVAL)),
        ] {
            assert_eq!(request.check(geometry, true), result, "{request:?}");
        }
        let df = request(command::READ, command_flag::DF, 0, 4096);
        assert_eq!(df.check(&disk, false), Err(error::EINVAL), "without structured replies");
    }
}

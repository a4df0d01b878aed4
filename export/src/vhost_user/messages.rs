//! What a front end tells by messages.

use super::config;
use super::device::{Device, Stop};
use super::inflight::Records;
use super::memory::{MAX_REGIONS, Memory};
use super::ring::{Addresses, Setup};
use super::{FrontEndError, MAX_RING_SIZE, MAX_RINGS};
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use std::fs::{self, File};
use std::os::fd::AsRawFd;
use vhost::VhostUserMemoryRegionBase;
use vhost::vhost_user::message::{
    VhostTransferStateDirection, VhostTransferStatePhase, VhostUserConfigFlags, VhostUserInflight,
    VhostUserLog, VhostUserMemoryRegion, VhostUserProtocolFeatures, VhostUserShMemConfig, VhostUserSharedMsg,
    VhostUserSingleMemoryRegion, VhostUserVringAddrFlags, VhostUserVringState,
};
use vhost::vhost_user::{Error, GpuBackend, Result, VhostUserBackendReqHandlerMut};

/// Bytes that may be asked for of the configuration: all that a message has room for.
const MAX_CONFIG_LEN: u32 = 4096;

const NOT_OFFERED: Error = Error::InvalidOperation("it was not offered");

impl Device {
    /// The setup of a ring that isn't served, as it is to be changed.
    fn changed_ring(&mut self, index: u32) -> Result<&mut Setup> {
        let index = ring(index)?;
        if self.rings[index].is_some() {
            return Err(Error::InvalidOperation("the ring is in use"));
        }
        Ok(&mut self.setups[index])
    }

    fn has_rings(&self) -> bool {
        self.rings.iter().any(Option::is_some)
    }

    /// Keeps what was wrong, for the words of it.
    fn keep<T, E: Into<Stop>>(&mut self, result: std::result::Result<T, E>) -> Result<T> {
        result.map_err(|wrong| {
            self.wrong = Some(wrong.into());
            Error::InvalidParam
        })
    }
}

impl VhostUserBackendReqHandlerMut for Device {
    fn set_owner(&mut self) -> Result<()> {
        Ok(())
    }

    fn reset_owner(&mut self) -> Result<()> {
        Ok(())
    }

    fn reset_device(&mut self) -> Result<()> {
        Err(NOT_OFFERED)
    }

    fn get_features(&mut self) -> Result<u64> {
        Ok(self.features.offered)
    }

    fn set_features(&mut self, features: u64) -> Result<()> {
        if features & !self.features.offered != 0 {
            return Err(Error::FeatureMismatch);
        }
        self.features.accepted = features;
        Ok(())
    }

    fn get_protocol_features(&mut self) -> Result<VhostUserProtocolFeatures> {
        Ok(config::protocol_features())
    }

    fn set_protocol_features(&mut self, features: u64) -> Result<()> {
        if features & !config::protocol_features().bits() != 0 {
            return Err(Error::FeatureMismatch);
        }
        Ok(())
    }

    fn get_queue_num(&mut self) -> Result<u64> {
        Ok(MAX_RINGS as u64)
    }

    fn get_max_mem_slots(&mut self) -> Result<u64> {
        Ok(MAX_REGIONS as u64)
    }

    fn set_mem_table(
        &mut self,
        regions: &[VhostUserMemoryRegion],
        files: Vec<File>,
        _postcopy: Option<bool>,
    ) -> Result<Option<Vec<VhostUserMemoryRegionBase>>> {
        let mut memory = Memory::default();
        for (region, file) in regions.iter().zip(files) {
            let added = memory.add(region, file, self.trust).map_err(FrontEndError::from);
            self.keep(added)?;
        }
        self.memory = memory;
        Ok(None)
    }

    fn add_mem_region(
        &mut self,
        region: &VhostUserSingleMemoryRegion,
        file: File,
        _postcopy: Option<bool>,
    ) -> Result<Option<VhostUserMemoryRegionBase>> {
        let added = self.memory.add(region, file, self.trust).map_err(FrontEndError::from);
        self.keep(added)?;
        Ok(None)
    }

    fn remove_mem_region(&mut self, region: &VhostUserSingleMemoryRegion) -> Result<()> {
        if self.memory.remove(region) { Ok(()) } else { Err(Error::InvalidParam) }
    }

    fn set_vring_num(&mut self, index: u32, size: u32) -> Result<()> {
        let is_size = size.is_power_of_two() && size <= MAX_RING_SIZE.into();
        self.changed_ring(index)?.size = if is_size { size as u16 } else { return Err(Error::InvalidParam) };
        Ok(())
    }

    fn set_vring_addr(
        &mut self,
        index: u32,
        _flags: VhostUserVringAddrFlags,
        descriptors: u64,
        used: u64,
        available: u64,
        _log: u64,
    ) -> Result<()> {
        let translate = |user| self.memory.translate(user);
        let addresses = (|| {
            Ok::<_, FrontEndError>(Addresses {
                descriptors: translate(descriptors)?,
                available: translate(available)?,
                used: translate(used)?,
            })
        })();
        let addresses = self.keep(addresses)?;
        self.changed_ring(index)?.addresses = Some(addresses);
        Ok(())
    }

    fn set_vring_base(&mut self, index: u32, base: u32) -> Result<()> {
        self.changed_ring(index)?.base = u16::try_from(base).map_err(|_| Error::InvalidParam)?;
        Ok(())
    }

    fn get_vring_base(&mut self, index: u32) -> Result<VhostUserVringState> {
        let stopped = self.stop_ring(ring(index)?);
        let base = self.keep(stopped)?;
        Ok(VhostUserVringState::new(index, base.into()))
    }

    fn set_vring_kick(&mut self, index: u8, file: Option<File>) -> Result<()> {
        let index = ring(index.into())?;
        // Rings that are looked at all the time would cost a CPU each.
        let kick = eventfd(file.ok_or(Error::InvalidOperation("a ring without a kick"))?)?;
        let set = self.set_kick(index, Some(kick));
        self.keep(set)
    }

    fn set_vring_call(&mut self, index: u8, file: Option<File>) -> Result<()> {
        let index = ring(index.into())?;
        self.setups[index].call = file.map(eventfd).transpose()?;
        // What was said at the old place may not have been heard.
        if self.rings[index].is_some() {
            self.setups[index].call();
        }
        Ok(())
    }

    /// We say nothing there: what is wrong ends the connection.
    fn set_vring_err(&mut self, index: u8, _file: Option<File>) -> Result<()> {
        ring(index.into()).map(|_| ())
    }

    fn set_vring_enable(&mut self, index: u32, enable: bool) -> Result<()> {
        let index = ring(index)?;
        self.setups[index].is_enabled = enable;
        if let Some(ring) = &mut self.rings[index] {
            ring.set_takes_new(enable);
        }
        Ok(())
    }

    fn get_config(&mut self, offset: u32, size: u32, _flags: VhostUserConfigFlags) -> Result<Vec<u8>> {
        if size > MAX_CONFIG_LEN {
            return Err(Error::InvalidParam);
        }
        Ok(config::config(&self.geometry, offset as usize, size as usize))
    }

    fn set_config(&mut self, _offset: u32, _bytes: &[u8], _flags: VhostUserConfigFlags) -> Result<()> {
        Err(Error::InvalidOperation("nothing in the configuration can be changed"))
    }

    fn get_inflight_fd(&mut self, asked: &VhostUserInflight) -> Result<(VhostUserInflight, File)> {
        let (rings, size) = records(asked)?;
        let created = Records::create(rings, size);
        let file = self.keep(created)?;
        Ok((VhostUserInflight::new(Records::len(rings, size) as u64, 0, rings, size), file))
    }

    fn set_inflight_fd(&mut self, given: &VhostUserInflight, file: File) -> Result<()> {
        if self.has_rings() {
            return Err(Error::InvalidOperation("rings are in use"));
        }
        let (offset, len) = (given.mmap_offset, given.mmap_size);
        let mapped = Records::map(file, offset, len, records(given)?, self.trust);
        self.records = Some(self.keep(mapped.map_err(FrontEndError::from))?);
        Ok(())
    }

    fn set_gpu_socket(&mut self, _gpu: GpuBackend) -> Result<()> {
        Err(NOT_OFFERED)
    }

    fn get_shared_object(&mut self, _uuid: VhostUserSharedMsg) -> Result<File> {
        Err(NOT_OFFERED)
    }

    fn set_device_state_fd(
        &mut self,
        _direction: VhostTransferStateDirection,
        _phase: VhostTransferStatePhase,
        _file: File,
    ) -> Result<Option<File>> {
        Err(NOT_OFFERED)
    }

    fn check_device_state(&mut self) -> Result<()> {
        Err(NOT_OFFERED)
    }

    fn get_shmem_config(&mut self) -> Result<VhostUserShMemConfig> {
        Err(NOT_OFFERED)
    }

    fn set_log_base(&mut self, _log: &VhostUserLog, _file: File) -> Result<()> {
        Err(NOT_OFFERED)
    }
}

fn ring(index: u32) -> Result<usize> {
    let index = index as usize;
    if index < MAX_RINGS { Ok(index) } else { Err(Error::InvalidParam) }
}

/// How many rings and entries records are for.
fn records(inflight: &VhostUserInflight) -> Result<(u16, u16)> {
    let (rings, size) = (inflight.num_queues, inflight.queue_size);
    let is_right = usize::from(rings) <= MAX_RINGS && size <= MAX_RING_SIZE;
    if is_right { Ok((rings, size)) } else { Err(Error::InvalidParam) }
}

/// An eventfd that doesn't block: whatever else it could be, to write to it might.
fn eventfd(file: File) -> Result<File> {
    let kind =
        fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd())).map_err(Error::ReqHandlerError)?;
    if !kind.as_os_str().as_encoded_bytes().starts_with(b"anon_inode:[eventfd") {
        return Err(Error::IncorrectFds);
    }
    fcntl(&file, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))
        .map_err(|errno| Error::ReqHandlerError(errno.into()))?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sys::eventfd::EventFd;
    use std::os::fd::OwnedFd;

    #[test]
    fn only_eventfds_are_kicked_and_called() {
        let event = EventFd::new().unwrap();
        let file = eventfd(OwnedFd::from(event).into()).unwrap();
        let flags = OFlag::from_bits_truncate(fcntl(&file, FcntlArg::F_GETFL).unwrap());
        assert!(flags.contains(OFlag::O_NONBLOCK));
        assert!(eventfd(File::open("/dev/null").unwrap()).is_err());
        let (end, _) = nix::unistd::pipe().unwrap();
        assert!(eventfd(end.into()).is_err());
    }
}

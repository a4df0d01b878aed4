//! Persistent reservations (SPC-4, 5.12): which hosts may use a disk, as they agree among themselves.

use crate::disk::Disk;
use crate::error::DiskError;
use crate::path::Path;
use fc::messages::{Action, Ended, Transfer, TransportError};
use fc::wire::scsi::reservations::{Keys, Parameters, Reservation, ReservationType, action_in, action_out};
use fc::wire::scsi::{ScsiCommand, SenseKey, Status};

/// How often a command is sent that a unit attention or a lost frame keeps from being done.
const ATTEMPTS: u32 = 8;

/// Room for the keys of more hosts and paths than share a disk.
const MAX_KEYS_LEN: u16 = 8 + 8 * 512;

/// What a reservation keeps from those that have not registered (SPC-4, table 39). Whoever has registered may do
/// everything, by all paths.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Exclusive {
    /// They may not write.
    Writes,
    /// They may not even read.
    Access,
}

impl From<Exclusive> for ReservationType {
    fn from(exclusive: Exclusive) -> Self {
        match exclusive {
            Exclusive::Writes => Self::WRITE_EXCLUSIVE_REGISTRANTS_ONLY,
            Exclusive::Access => Self::EXCLUSIVE_ACCESS_REGISTRANTS_ONLY,
        }
    }
}

/// A reservation that someone holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Reserved {
    /// Its holder's key.
    pub key: u64,
    /// What it keeps from others.
    pub kind: ReservationType,
}

/// Reservations, for all paths of this initiator together. Each fails with the target's RESERVATION CONFLICT if this
/// initiator has not registered.
impl Disk {
    /// Registers this initiator's key by all paths; a path that comes later is registered before it is used. Zero ends
    /// the registration, and a reservation with it.
    ///
    /// # Errors
    /// The target's, or [`TransportError::NotLoggedIn`] if no path works.
    pub fn register(&self, key: u64) -> Result<(), DiskError> {
        self.state().set_key(key);
        let mut result = Err(TransportError::NotLoggedIn.into());
        for path in &self.ready_paths() {
            match self.reserve_out(path, action_out::REGISTER_AND_IGNORE, None, 0, key) {
                Ok(()) => {
                    self.state().registered(path);
                    result = Ok(());
                }
                Err(error) if is_of_path(&error) => {}
                Err(error) => return Err(error),
            }
        }
        result
    }

    /// Reserves the disk for those that have registered.
    ///
    /// # Errors
    /// RESERVATION CONFLICT if someone else has reserved it.
    pub fn reserve(&self, exclusive: Exclusive) -> Result<(), DiskError> {
        self.by_any_path(|path| {
            self.reserve_out(path, action_out::RESERVE, Some(exclusive), self.state().key(), 0)
        })
    }

    /// Ends this initiator's reservation. The path that reserved holds it: the others are asked in vain, and say so to
    /// nobody.
    ///
    /// # Errors
    /// The target's.
    pub fn release(&self, exclusive: Exclusive) -> Result<(), DiskError> {
        let mut result = Err(TransportError::NotLoggedIn.into());
        for path in &self.ready_paths() {
            match self.reserve_out(path, action_out::RELEASE, Some(exclusive), self.state().key(), 0) {
                Err(error) if is_of_path(&error) => {}
                end => result = end,
            }
        }
        result
    }

    /// Ends the registrations with the key of someone else and aborts their commands; takes over their reservation, if
    /// they hold one.
    ///
    /// # Errors
    /// RESERVATION CONFLICT if nobody has registered that key.
    pub fn preempt(&self, other: u64, exclusive: Exclusive) -> Result<(), DiskError> {
        let own = self.state().key();
        self.by_any_path(|path| {
            self.reserve_out(path, action_out::PREEMPT_AND_ABORT, Some(exclusive), own, other)
        })
    }

    /// The keys of all that have registered, one for each of their paths.
    ///
    /// # Errors
    /// The target's.
    pub fn registered_keys(&self) -> Result<Vec<u64>, DiskError> {
        let data = self.by_any_path(|path| self.reserve_in(path, action_in::READ_KEYS))?;
        let keys = Keys::parse(&data).map_err(|_| TransportError::Malformed)?;
        Ok(keys.keys.iter().map(|key| key.get()).collect())
    }

    /// The reservation, if there is one.
    ///
    /// # Errors
    /// The target's.
    pub fn reservation(&self) -> Result<Option<Reserved>, DiskError> {
        let data = self.by_any_path(|path| self.reserve_in(path, action_in::READ_RESERVATION))?;
        let (_, reservation) = Reservation::parse(&data).map_err(|_| TransportError::Malformed)?;
        let kind = |reservation: &Reservation| ReservationType(reservation.scope_and_type & 0x0f);
        Ok(reservation.map(|held| Reserved { key: held.key.get(), kind: kind(&held) }))
    }

    fn by_any_path<T>(&self, run: impl Fn(&Path) -> Result<T, DiskError>) -> Result<T, DiskError> {
        let mut result = Err(TransportError::NotLoggedIn.into());
        for path in &self.ready_paths() {
            result = run(path);
            if !matches!(&result, Err(error) if is_of_path(error)) {
                break;
            }
        }
        result
    }

    fn reserve_out(
        &self,
        path: &Path,
        action: u8,
        exclusive: Option<Exclusive>,
        key: u64,
        action_key: u64,
    ) -> Result<(), DiskError> {
        let (action, list) = reserve_out(action, exclusive, key, action_key);
        self.insist(path, action, || Transfer::Write(list.clone())).map(|_| ())
    }

    fn reserve_in(&self, path: &Path, action: u8) -> Result<Box<[u8]>, DiskError> {
        let command = ScsiCommand::PersistentReserveIn { action, allocation_len: MAX_KEYS_LEN };
        let room = || Transfer::Read(vec![0; MAX_KEYS_LEN.into()].into());
        let (ended, transfer) = self.insist(path, Action::from(&command), room)?;
        let buffer = transfer.into_buffer().unwrap_or_default();
        Ok(buffer[..buffer.len().min(ended.transferred as usize)].into())
    }

    /// Sends a command until it is done, or fails for a reason that doesn't pass.
    fn insist(
        &self,
        path: &Path,
        action: Action,
        transfer: impl Fn() -> Transfer,
    ) -> Result<(Ended, Transfer), DiskError> {
        let mut result = Err(TransportError::Lost.into());
        for _ in 0..ATTEMPTS {
            let completion = self.run_by(path, action, transfer())?;
            result = match completion.result {
                Ok(ended) if ended.status == Status::GOOD => return Ok((ended, completion.transfer)),
                Ok(ended) => Err(DiskError::Scsi { status: ended.status, sense: ended.sense }),
                Err(error) => Err(error.into()),
            };
            if !matches!(&result, Err(error) if passes(error)) {
                break;
            }
        }
        result
    }
}

/// A PERSISTENT RESERVE OUT and its parameter list.
pub(crate) fn reserve_out(
    action: u8,
    exclusive: Option<Exclusive>,
    key: u64,
    action_key: u64,
) -> (Action, Box<[u8]>) {
    let list = Parameters { key: key.into(), action_key: action_key.into(), ..Parameters::default() };
    let list: Box<[u8]> = list.bytes().into();
    let parameter_len = u32::try_from(list.len()).expect("a short list");
    let kind = exclusive.map_or(0, |exclusive| ReservationType::from(exclusive).0);
    (Action::from(&ScsiCommand::PersistentReserveOut { action, scope: 0, kind, parameter_len }), list)
}

/// Whether another path may do better.
fn is_of_path(error: &DiskError) -> bool {
    matches!(
        error,
        DiskError::Transport(
            TransportError::NotLoggedIn
                | TransportError::NexusGone
                | TransportError::TimedOut
                | TransportError::Stopped
        )
    )
}

/// Whether the same command may do better.
fn passes(error: &DiskError) -> bool {
    match error {
        DiskError::Scsi { sense: Some(sense), .. } => sense.key == SenseKey::UNIT_ATTENTION,
        DiskError::Scsi { status, .. } => matches!(*status, Status::BUSY | Status::TASK_SET_FULL),
        DiskError::Transport(error) => {
            matches!(error, TransportError::Lost | TransportError::DataMissing { .. })
        }
        _ => false,
    }
}

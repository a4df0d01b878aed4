//! What stands in ublk's place where it isn't built.

use super::{State, UblkError};
use crate::export::Export;
use std::sync::Arc;

/// An export as a block device of this machine: there is none.
pub enum Server {}

impl Server {
    /// Never starts.
    ///
    /// # Errors
    /// Always [`UblkError::NotBuilt`].
    pub fn start(_export: Arc<Export>, _number: u32, _disk: &str) -> Result<Self, UblkError> {
        Err(UblkError::NotBuilt)
    }

    /// How the device stands.
    pub fn state(&self) -> State {
        match *self {}
    }

    /// Lets a device that is in use outlive the export.
    pub fn leave(&self) {
        match *self {}
    }
}

/// Fails as there is no ublk.
///
/// # Errors
/// Always [`UblkError::NotBuilt`].
pub fn check() -> Result<(), UblkError> {
    Err(UblkError::NotBuilt)
}

/// There is nothing to be removed.
///
/// # Errors
/// Never.
pub fn remove_orphan(_number: u32) -> Result<bool, UblkError> {
    Ok(false)
}

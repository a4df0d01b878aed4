//! What is around the targets.

use crate::context::{Path, Sender};

/// Where a received FC frame goes.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Route {
    /// To a target, by its place in the list of targets.
    Target { number: usize, from: Sender },
    /// To a service at a well-known address.
    WellKnown { from: Sender },
    /// On to another VN_Port.
    Forward(Path),
}

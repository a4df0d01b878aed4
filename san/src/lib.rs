//! A SAN in a box on one Ethernet port: targets with disks, behind an FCF with its name server or each by itself as
//! a VN2VN port.
//!
//! [`San`] is the peer of the demo, the tests and the benchmarks. It shares only the formats on the wire and the
//! port with the rest of the project, never a state machine: a mistake in one end must not hide in the other.
//!
//! ```text
//!              received frames              frames to send
//!                    |                            ^
//!                    v                            |
//!   FIP ---------> Topology --------------> Egress (waits for the port)
//!   FCoE: S_ID and source checked                 ^
//!     to FFFFxx -> Fabric: name server, RSCN -----+
//!     to a VN_Port: source MAC rewritten ------------------> port
//!     to a target -> Targets: ELS ----------------+
//!                      FCP -> exchange -> disk ------------> port
//! ```
//!
//! A topology is a fabric or VN2VN: it gives addresses, takes logins by FIP and says whose a frame is. The targets
//! know nothing of it.
//!
//! It is a value that `step(now)` drives; [`thread::run`] is the loop around it.

mod config;
mod context;
mod counters;
mod egress;
mod fabric;
mod faults;
mod orders;
mod random;
mod remote;
mod san;
mod scsi;
mod target;
#[cfg(test)]
mod tests;
pub mod thread;
mod topology;
mod vn2vn;

pub use config::{
    Addressing, ConfigError, FcfConfig, LunConfig, MAX_LUNS, MAX_TARGETS, Mode, SanConfig, TargetConfig,
};
pub use counters::Counters;
pub use faults::{CommandFailure, Fault, FaultsConfig, FrameFate, FrameKind, LoginKind};
pub use orders::{Death, Order, OrderError};
pub use remote::Remote;
pub use san::{San, Stats};
pub use scsi::PortAccess;

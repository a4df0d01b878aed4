//! The control thread: FIP, logins, discovery and the MAC map.
//!
//! [`Control`] is a value that joins fc's machines for one interface; [`Edge`] is everything it needs of the world.
//! [`run`] is the loop of the control thread. [`link`] follows the interface over netlink.

mod admission;
mod agenda;
mod control;
mod dev_loss;
mod edge;
mod enode;
mod escalations;
mod events;
mod identities;
mod identity;
mod inventory;
pub mod link;
mod local_port;
mod macs;
mod nexus_map;
mod ports;
mod scans;
mod targets;
mod view;
mod words;

pub use control::{Config, Control, Counters};
pub use dev_loss::DEFAULT_DEV_LOSS;
pub use edge::{Edge, run};
pub use enode::EnodeConfig;
pub use identity::{Identity, IdentityError, Login, Order};
pub use inventory::{FcfView, Inventory, LunView, NeighbourView, Obstacle, TargetView, VnPortView};

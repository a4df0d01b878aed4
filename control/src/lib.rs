//! The control thread: FIP, logins, discovery and the MAC map.
//!
//! [`Control`] is a value that joins fc's machines for one interface; [`Edge`] is everything it needs of the world.
//! [`run`] is the loop of the control thread. [`link`] follows the interface over netlink.

mod control;
mod dev_loss;
mod edge;
mod escalations;
mod fip;
mod inventory;
pub mod link;
mod nexus_map;
mod scans;
mod view;
mod words;

pub use control::{Config, Control};
pub use dev_loss::DEFAULT_DEV_LOSS;
pub use edge::{Edge, run};
pub use fip::EnodeConfig;
pub use inventory::{FcfView, Inventory, LunView, NeighbourView, Obstacle, TargetView, VnPortView};

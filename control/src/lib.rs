//! The control thread: FIP, logins, discovery and the MAC map.

pub mod link;

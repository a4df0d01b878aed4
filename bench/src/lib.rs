//! What `xfcoe-bench` shares with the tests.

pub mod guest;

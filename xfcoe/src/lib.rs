//! What the `xfcoe` program is made of.

#![forbid(unsafe_code)]

pub mod cli;
pub mod config;
pub mod link;
pub mod netns;
pub mod preflight;

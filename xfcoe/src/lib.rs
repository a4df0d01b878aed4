//! What the `xfcoe` program is made of.

#![forbid(unsafe_code)]

pub mod link;
pub mod netns;
pub mod preflight;

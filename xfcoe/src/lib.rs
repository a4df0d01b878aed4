//! What the `xfcoe` program is made of.

#![forbid(unsafe_code)]

pub mod capture;
pub mod cli;
pub mod config;
pub mod demo;
pub mod interrupt;
pub mod link;
pub mod netns;
pub mod preflight;
pub mod transfer;

//! What the `xfcoe` program is made of.
//!
//! | module | what it is |
//! |---|---|
//! | [`cli`], [`config`] | what the operator wants: command line, configuration file |
//! | [`preflight`], [`link`] | whether it can be had here |
//! | [`demo`] | an initiator and a SAN in a box on a [`netns::Cable`], checked and measured |
//! | [`san_thread`] | a SAN in a box on an interface |
//! | [`transfer`] | bytes between a LUN and a file |

#![forbid(unsafe_code)]

pub mod cli;
pub mod config;
pub mod demo;
pub mod interrupt;
pub mod link;
mod list;
pub mod netns;
pub mod preflight;
mod program;
mod run;
pub mod san_thread;
mod session;
pub mod transfer;

pub use program::main;

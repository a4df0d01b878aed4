//! What the `xfcoe` program is made of.
//!
//! | module | what it is |
//! |---|---|
//! | [`cli`], [`config`] | what the operator wants: command line, configuration file |
//! | [`preflight`], [`link`] | whether it can be had here |
//! | [`demo`] | an initiator and a SAN in a box on a [`netns::Cable`], checked and measured |
//! | [`san_thread`] | a SAN in a box on an interface |
//! | [`fault`] | orders to such a SAN while it runs |
//! | [`exports`] | its LUNs, handed out |
//! | `orders`, [`sockets`] | orders to what runs, and the sockets for those who are served |
//! | [`session`] | initiators over the ports of a configuration, and the LUN that is meant |
//! | [`transfer`] | bytes between a LUN and a file |
//! | [`workload`], [`pattern`] | I/O to a LUN, measured, and data that tells where it belongs |
//! | [`program`] | what it is to be a program: logs, Ctrl-C, output, exit status |

#![forbid(unsafe_code)]

pub mod cli;
pub mod config;
pub mod demo;
pub mod exports;
pub mod fault;
pub mod interrupt;
pub mod link;
mod list;
pub mod netns;
mod orders;
pub mod pattern;
pub mod preflight;
pub mod program;
mod run;
pub mod san_thread;
pub mod session;
pub mod sockets;
pub mod transfer;
pub mod workload;

pub use program::main;

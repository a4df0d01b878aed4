//! `xfcoe identity`

use super::ControlAt;
use crate::config::{Addressing, LoginBy};
use clap::{Args, Subcommand};
use fc::wire::{MacAddr, Wwn};

/// `xfcoe identity`
#[derive(Debug, Args)]
pub struct IdentityArgs {
    /// Which daemon.
    #[command(flatten)]
    pub at: ControlAt,
    /// What to do.
    #[command(subcommand)]
    pub what: IdentityOrder,
}

/// What to do with the identities of a daemon.
#[derive(Debug, Subcommand)]
pub enum IdentityOrder {
    /// Log in as one more, until the daemon stops or reads its file again
    Add(IdentityAdd),
    /// Log out as one: its disks have no path any more
    Remove {
        /// Its name
        name: String,
        /// Only on this port of the daemon's file
        #[arg(long, value_name = "NAME")]
        port: Option<String>,
    },
    /// Show the identities
    List,
}

/// `xfcoe identity add`
#[derive(Debug, Args)]
pub struct IdentityAdd {
    /// What it is called, by exports, too
    pub name: String,
    /// Its port name
    #[arg(long, value_name = "NAME")]
    pub wwpn: Wwn,
    /// Its node name; default: the port's
    #[arg(long, value_name = "NAME")]
    pub wwnn: Option<Wwn>,
    /// The port of the daemon's file that it logs in by; default: the only one
    #[arg(long, value_name = "NAME")]
    pub port: Option<String>,
    /// How it logs in
    #[arg(long, value_enum, default_value_t)]
    pub login: LoginBy,
    /// Its MAC address, for `flogi`
    #[arg(long, value_name = "MAC", required_if_eq("login", "flogi"))]
    pub mac: Option<MacAddr>,
    /// Who provides its VN_Port's MAC address, for `flogi`; default: the fabric
    #[arg(long, value_enum)]
    pub addressing: Option<Addressing>,
}

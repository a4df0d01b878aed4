//! `xfcoe status`, `xfcoe reload`, `xfcoe export` and `xfcoe identity`: orders to a daemon that runs.

use super::identities::IdentityList;
use super::status::Status;
use crate::cli::{self, ControlAt, ExportAdd, ExportOrder};
use crate::config::{ExportConfig, IdentityConfig};
use crate::exports::ExportStatus;
use crate::orders::{Client, give};
use crate::program;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::fmt;

const DAEMON: Client = Client {
    who: "daemon",
    start: |path| {
        format!(
            "start one by `xfcoe run -c FILE` with `[control]` and `path = \"{path}\"` in the file, or say --control PATH"
        )
    },
};

/// What a daemon can be told.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Request {
    /// How it stands.
    Status,
    /// To make its exports those of its file.
    Reload,
    /// How its exports stand.
    Exports,
    /// To hand something out.
    Add(ExportConfig),
    /// To end an export.
    Remove(String),
    /// How the identities stand.
    Identities,
    /// To log in as one more.
    AddIdentity(IdentityConfig),
    /// To log out as one: on a port, or on all.
    RemoveIdentity { name: String, port: Option<String> },
}

/// What it says when it has done so. Who asked knows which it is.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(super) enum Answer {
    Status(Box<Status>),
    Exports(ExportList),
    Identities(IdentityList),
    Changes(Changes),
}

/// Exports.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct ExportList {
    pub(super) exports: Vec<ExportStatus>,
}

/// What is another thing than before.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Changes {
    pub(super) changes: Vec<String>,
}

/// `xfcoe status`
pub(crate) fn status(at: &ControlAt, json: bool) -> anyhow::Result<()> {
    order::<Status>(at, &Request::Status, json)
}

/// `xfcoe reload`
pub(crate) fn reload(at: &ControlAt, json: bool) -> anyhow::Result<()> {
    order::<Changes>(at, &Request::Reload, json)
}

/// `xfcoe export`
pub(crate) fn export(args: &cli::Export, json: bool) -> anyhow::Result<()> {
    match &args.what {
        ExportOrder::Add(add) => order::<ExportList>(&args.at, &Request::Add((&**add).into()), json),
        ExportOrder::Remove { name } => order::<Changes>(&args.at, &Request::Remove(name.clone()), json),
        ExportOrder::List => order::<ExportList>(&args.at, &Request::Exports, json),
    }
}

pub(super) fn order<A>(at: &ControlAt, request: &Request, json: bool) -> anyhow::Result<()>
where
    A: DeserializeOwned + Serialize + fmt::Display,
{
    let answer: A = give(&DAEMON, &at.control, request)?;
    Ok(program::print(json, &answer)?)
}

impl From<&ExportAdd> for ExportConfig {
    fn from(add: &ExportAdd) -> Self {
        let ExportAdd {
            name,
            lun,
            identity,
            nbd,
            vhost_user,
            ublk,
            any_memory,
            offset,
            length,
            read_only,
            owner,
            group,
        } = add;
        Self {
            name: name.clone(),
            lun: lun.clone(),
            identity: identity.clone(),
            offset: *offset,
            length: *length,
            read_only: *read_only,
            nbd: nbd.clone(),
            vhost_user: vhost_user.clone(),
            ublk: *ublk,
            any_memory: *any_memory,
            owner: owner.clone(),
            group: group.clone(),
        }
    }
}

impl fmt::Display for ExportList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.exports.is_empty() {
            return writeln!(f, "there are no exports");
        }
        self.exports.iter().try_for_each(|export| export.fmt(f))
    }
}

impl fmt::Display for Changes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.changes.is_empty() {
            return writeln!(f, "nothing has changed");
        }
        self.changes.iter().try_for_each(|change| writeln!(f, "{change}"))
    }
}

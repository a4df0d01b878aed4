//! Orders to a program while it runs, at a unix socket: a request is one line of JSON, and so is its answer,
//!
//! ```text
//! {"done":...}
//! {"refused":"why"}
//! ```

mod client;
mod server;

pub(crate) use client::{Client, give};
pub(crate) use server::Server;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// Bytes of the longest request: those of an export have some hundred, with a long path.
pub(crate) const MAX_REQUEST_LEN: usize = 4096;
/// Bytes of the longest answer that is read: of a large SAN with many exports.
const MAX_ANSWER_LEN: u64 = 64 << 20;

/// A program that takes orders.
pub(crate) trait TakesOrders: Send + Sync + 'static {
    /// What it can be told.
    type Request: DeserializeOwned;
    /// What it says when it has done so.
    type Answer: Serialize;

    /// Does what is asked, or says why not. Called on the threads of those who ask.
    fn carry_out(&self, request: Self::Request) -> Result<Self::Answer, String>;
}

/// What is answered to a request.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Answer<T> {
    /// It is done.
    Done(T),
    /// It isn't, and why.
    Refused(String),
}

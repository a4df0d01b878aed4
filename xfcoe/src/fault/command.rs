//! `xfcoe fault`: gives one order.

use super::{Fault, Request, Summary};
use crate::{orders, program};

const SAN: orders::Client =
    orders::Client { who: "SAN", start: |path| format!("start one by `xfcoe san -i IF --control {path}`") };

/// Gives the order, and prints how the SAN stands then.
pub(crate) fn run(args: &Fault, json: bool) -> anyhow::Result<()> {
    let request = args.what.order().map_or(Request::Show, Request::Order);
    let summary: Summary = orders::give(&SAN, &args.control, &request)?;
    Ok(program::print(json, &summary)?)
}

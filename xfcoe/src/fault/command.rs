//! `xfcoe fault`: gives one order.

use super::{Answer, Fault, MAX_ANSWER_LEN, Request};
use crate::program;
use anyhow::{Context as _, bail};
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

/// How long the SAN may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// Gives the order, and prints how the SAN stands then.
pub(crate) fn run(args: &Fault, json: bool) -> anyhow::Result<()> {
    let request = args.what.order().map_or(Request::Show, Request::Order);
    match ask(&args.control, request)? {
        Answer::Done(summary) => Ok(program::print(json, &summary)?),
        Answer::Refused(why) => bail!("the SAN refused: {why}"),
    }
}

fn ask(control: &Path, request: Request) -> anyhow::Result<Answer> {
    let path = control.display();
    let mut stream = UnixStream::connect(control).map_err(|error| match error.kind() {
        ErrorKind::NotFound | ErrorKind::ConnectionRefused => anyhow::anyhow!(
            "no SAN takes orders at {path} ({error}); start one by `xfcoe san -i IF --control {path}`"
        ),
        ErrorKind::PermissionDenied => anyhow::anyhow!(
            "cannot connect to {path}: {error}; only the user who started the SAN may give it orders"
        ),
        _ => anyhow::anyhow!("cannot connect to {path}: {error}"),
    })?;
    let exchange = || {
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        stream.write_all(format!("{}\n", serde_json::to_string(&request)?).as_bytes())?;
        let mut line = String::new();
        BufReader::new(stream.take(MAX_ANSWER_LEN as u64)).read_line(&mut line)?;
        Ok::<_, std::io::Error>(line)
    };
    let line = exchange().with_context(|| format!("the SAN at {path} does not answer"))?;
    serde_json::from_str(&line).with_context(|| format!("what answers at {path} is no SAN of this version"))
}

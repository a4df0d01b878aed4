//! Gives one order.

use super::{Answer, MAX_ANSWER_LEN};
use anyhow::{Context as _, bail};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

/// How long the program may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// Who gives orders, to whom: words for people.
pub(crate) struct Client {
    /// What takes the orders, such as "SAN".
    pub(crate) who: &'static str,
    /// How it would be started to take them, with `{}` for the path.
    pub(crate) start: fn(&str) -> String,
}

/// Gives `request` to the program at `control`, and gives its answer.
pub(crate) fn give<A: DeserializeOwned>(
    client: &Client,
    control: &Path,
    request: &impl Serialize,
) -> anyhow::Result<A> {
    let (path, who) = (control.display(), client.who);
    let mut stream = UnixStream::connect(control).map_err(|error| match error.kind() {
        ErrorKind::NotFound | ErrorKind::ConnectionRefused => {
            let start = (client.start)(&path.to_string());
            anyhow::anyhow!("no {who} takes orders at {path} ({error}); {start}")
        }
        ErrorKind::PermissionDenied => anyhow::anyhow!(
            "cannot connect to {path}: {error}; only the user who started the {who}, or whom its configuration names, may give it orders"
        ),
        _ => anyhow::anyhow!("cannot connect to {path}: {error}"),
    })?;
    let exchange = || {
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        stream.write_all(format!("{}\n", serde_json::to_string(request)?).as_bytes())?;
        let mut line = String::new();
        BufReader::new(stream.take(MAX_ANSWER_LEN)).read_line(&mut line)?;
        Ok::<_, std::io::Error>(line)
    };
    let line = exchange().with_context(|| format!("the {who} at {path} does not answer"))?;
    let answer = serde_json::from_str(&line)
        .with_context(|| format!("what answers at {path} is no {who} of this version"))?;
    match answer {
        Answer::Done(done) => Ok(done),
        Answer::Refused(why) => bail!("the {who} refused: {why}"),
    }
}

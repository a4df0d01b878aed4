//! An NBD client that does no more than it has to: what it is given is what the server can give.

use super::client::OneByOne;
use super::{BLOCK_LEN, EXPORT, MAX_DEPTH};
use anyhow::{Context as _, ensure};
use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;

/// Bytes of the server's greeting, and of its answer to NBD_OPT_EXPORT_NAME without the zeroes.
const GREETING_LEN: usize = 18;
const EXPORT_INFO_LEN: usize = 10;
/// NBD_FLAG_C_FIXED_NEWSTYLE and NBD_FLAG_C_NO_ZEROES.
const CLIENT_FLAGS: u32 = 3;
const OPT_EXPORT_NAME: u32 = 1;

const REQUEST_MAGIC: u32 = 0x2560_9513;
const REPLY_MAGIC: u32 = 0x6744_6698;
/// Bytes of a simple reply before its data.
const REPLY_LEN: usize = 16;

/// Bytes that are asked of the socket at a time.
const INPUT_LEN: usize = 256 << 10;

/// A connection, with simple replies.
pub(super) struct Nbd {
    socket: UnixStream,
    requests: Vec<u8>,
    input: Box<[u8]>,
    /// Bytes of it that have come and are not used up.
    filled: usize,
    /// Where a reply's data goes, by its cookie.
    data: Vec<Box<[u8]>>,
    /// Cookies without a request.
    free: Vec<usize>,
}

impl Nbd {
    pub(super) fn connect(path: &Path) -> anyhow::Result<Self> {
        let mut socket = UnixStream::connect(path).context("cannot connect to the NBD server")?;
        socket.read_exact(&mut [0; GREETING_LEN])?;
        let len = u32::try_from(EXPORT.len())?.to_be_bytes();
        let choice = [
            &CLIENT_FLAGS.to_be_bytes(),
            &b"IHAVEOPT"[..],
            &OPT_EXPORT_NAME.to_be_bytes(),
            &len,
            EXPORT.as_bytes(),
        ];
        socket.write_all(&choice.concat())?;
        socket.read_exact(&mut [0; EXPORT_INFO_LEN]).context("there is no such export")?;
        let input = vec![0; INPUT_LEN].into();
        let data = vec![vec![0; BLOCK_LEN].into(); MAX_DEPTH];
        Ok(Self { socket, requests: Vec::new(), input, filled: 0, data, free: (0..MAX_DEPTH).collect() })
    }
}

impl OneByOne for Nbd {
    fn begin(&mut self, block: u64) -> anyhow::Result<()> {
        let cookie = self.free.pop().context("no cookies")?;
        let offset = block * BLOCK_LEN as u64;
        self.requests.extend_from_slice(&REQUEST_MAGIC.to_be_bytes());
        // Flags, and NBD_CMD_READ.
        self.requests.extend_from_slice(&[0; 4]);
        self.requests.extend_from_slice(&(cookie as u64).to_be_bytes());
        self.requests.extend_from_slice(&offset.to_be_bytes());
        self.requests.extend_from_slice(&(BLOCK_LEN as u32).to_be_bytes());
        Ok(())
    }

    fn kick(&mut self) -> anyhow::Result<()> {
        self.socket.write_all(&self.requests)?;
        self.requests.clear();
        Ok(())
    }

    /// Those whose reply is whole have ended.
    fn take(&mut self) -> anyhow::Result<usize> {
        let before = self.free.len();
        let len = self.socket.read(&mut self.input[self.filled..])?;
        ensure!(len > 0, "the NBD server has closed the connection");
        self.filled += len;
        let mut rest = &self.input[..self.filled];
        while let Some((reply, after)) = rest.split_at_checked(REPLY_LEN + BLOCK_LEN) {
            let (header, data) = reply.split_at(REPLY_LEN);
            ensure!(
                header[..8] == [REPLY_MAGIC.to_be_bytes(), [0; 4]].concat(),
                "an NBD reply begins with {header:x?}"
            );
            let cookie = u64::from_be_bytes(header[8..].try_into()?) as usize;
            self.data.get_mut(cookie).context("an NBD reply to nothing")?.copy_from_slice(data);
            self.free.push(cookie);
            rest = after;
        }
        let left = rest.len();
        self.input.copy_within(self.filled - left..self.filled, 0);
        self.filled = left;
        Ok(self.free.len() - before)
    }
}

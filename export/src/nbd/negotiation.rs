//! The first phase of a connection: which export, and how ("Fixed newstyle negotiation").

use super::buffers::Input;
use super::wire::{
    INIT_MAGIC, OPTION_MAGIC, OPTION_REPLY_MAGIC, flag, handshake, info, option, option_reply,
};
use super::{MAX_REQUEST_LEN, ProtocolError};
use crate::block::Geometry;

/// Bytes of the longest name ("Terminology": a string).
const MAX_NAME_LEN: usize = 4096;

/// Bytes of the longest option: a name with every information request that there is, many times over.
const MAX_OPTION_LEN: u32 = MAX_NAME_LEN as u32 + 4096;

/// Bytes of an option before its data: magic, option, length.
const OPTION_HEADER_LEN: usize = 16;

/// The zeroes that end the answer to NBD_OPT_EXPORT_NAME, for clients that want them.
const ZEROES: usize = 124;

/// The preferred block: what file systems and page caches move.
const PREFERRED_BLOCK_LEN: u32 = 4096;

/// An export that a client may choose.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Offer {
    /// Its name.
    pub(super) name: String,
    /// What it looks like.
    pub(super) geometry: Geometry,
}

/// What a client has chosen.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Choice {
    /// The number of the offer.
    pub(super) offer: usize,
    /// Whether reads have structured replies.
    pub(super) structured: bool,
}

/// How a negotiation stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Progress {
    /// It needs more bytes.
    Incomplete,
    /// A message is answered; there may be another one.
    Answered,
    /// What comes next is the transmission phase.
    Chosen(Choice),
    /// The client wants nothing.
    Aborted,
}

/// The negotiation with one client.
#[derive(Debug)]
pub(super) struct Negotiation {
    offers: Vec<Offer>,
    /// `None` until the client's flags have come.
    no_zeroes: Option<bool>,
    structured: bool,
}

/// What a client sent, in its own words: an option with its data.
struct Request<'a> {
    option: u32,
    data: &'a [u8],
}

impl Negotiation {
    /// With a client that may choose among `offers`. The greeting for it goes to `output`.
    pub(super) fn new(offers: Vec<Offer>, output: &mut Vec<u8>) -> Self {
        output.extend(INIT_MAGIC.to_be_bytes());
        output.extend(OPTION_MAGIC.to_be_bytes());
        output.extend((handshake::FIXED_NEWSTYLE | handshake::NO_ZEROES).to_be_bytes());
        Self { offers, no_zeroes: None, structured: false }
    }

    /// Takes the next message of what has come, and adds the answer to `output`.
    ///
    /// # Errors
    /// What the client did wrong: its connection is to be closed.
    pub(super) fn handle(
        &mut self,
        input: &mut Input,
        output: &mut Vec<u8>,
    ) -> Result<Progress, ProtocolError> {
        let Some(no_zeroes) = self.no_zeroes else {
            let Some(flags) = input.take(4) else { return Ok(Progress::Incomplete) };
            self.no_zeroes = Some(no_zeroes(be_u32(flags))?);
            return Ok(Progress::Answered);
        };
        let Some(header) = input.peek().first_chunk::<OPTION_HEADER_LEN>() else {
            return Ok(Progress::Incomplete);
        };
        let magic = be_u64(&header[..8]);
        if magic != OPTION_MAGIC {
            return Err(ProtocolError::Magic { found: magic, expected: OPTION_MAGIC });
        }
        let (option, len) = (be_u32(&header[8..12]), be_u32(&header[12..]));
        if len > MAX_OPTION_LEN {
            return Err(ProtocolError::LongOption(len));
        }
        let Some(message) = input.take(OPTION_HEADER_LEN + len as usize) else {
            return Ok(Progress::Incomplete);
        };
        self.answer(&Request { option, data: &message[OPTION_HEADER_LEN..] }, no_zeroes, output)
    }

    fn answer(
        &mut self,
        request: &Request<'_>,
        no_zeroes: bool,
        output: &mut Vec<u8>,
    ) -> Result<Progress, ProtocolError> {
        match request.option {
            option::EXPORT_NAME => return self.export_name(request, no_zeroes, output),
            option::INFO | option::GO => return Ok(self.go(request, output)),
            option::ABORT => {
                reply(output, request, option_reply::ACK, &[]);
                return Ok(Progress::Aborted);
            }
            option::LIST if request.data.is_empty() => {
                for Offer { name, .. } in &self.offers {
                    let len = u32::try_from(name.len()).expect("a name");
                    let server = [&len.to_be_bytes(), name.as_bytes()].concat();
                    reply(output, request, option_reply::SERVER, &server);
                }
                reply(output, request, option_reply::ACK, &[]);
            }
            option::STRUCTURED_REPLY if request.data.is_empty() => {
                self.structured = true;
                reply(output, request, option_reply::ACK, &[]);
            }
            option::LIST | option::STRUCTURED_REPLY => reply(output, request, option_reply::ERR_INVALID, &[]),
            // TLS and metadata contexts among them.
            _ => reply(output, request, option_reply::ERR_UNSUP, &[]),
        }
        Ok(Progress::Answered)
    }

    fn export_name(
        &self,
        request: &Request<'_>,
        no_zeroes: bool,
        output: &mut Vec<u8>,
    ) -> Result<Progress, ProtocolError> {
        let (offer, geometry) = self.find(request.data).ok_or(ProtocolError::NoExport)?;
        output.extend(geometry.len().to_be_bytes());
        output.extend(self.flags(geometry).to_be_bytes());
        if !no_zeroes {
            output.extend([0; ZEROES]);
        }
        Ok(Progress::Chosen(Choice { offer, structured: self.structured }))
    }

    /// NBD_OPT_INFO and NBD_OPT_GO. We tell the sizes of blocks whether asked or not, and nothing else.
    fn go(&self, request: &Request<'_>, output: &mut Vec<u8>) -> Progress {
        let Some(name) = name_of(request.data) else {
            reply(output, request, option_reply::ERR_INVALID, &[]);
            return Progress::Answered;
        };
        let Some((offer, geometry)) = self.find(name) else {
            reply(output, request, option_reply::ERR_UNKNOWN, b"there is no such export, or not yet");
            return Progress::Answered;
        };
        let mut export = info::EXPORT.to_be_bytes().to_vec();
        export.extend(geometry.len().to_be_bytes());
        export.extend(self.flags(geometry).to_be_bytes());
        reply(output, request, option_reply::INFO, &export);
        let mut block_size = info::BLOCK_SIZE.to_be_bytes().to_vec();
        let longest = MAX_REQUEST_LEN / geometry.block_len * geometry.block_len;
        for len in [geometry.block_len, geometry.block_len.max(PREFERRED_BLOCK_LEN), longest] {
            block_size.extend(len.to_be_bytes());
        }
        reply(output, request, option_reply::INFO, &block_size);
        reply(output, request, option_reply::ACK, &[]);
        if request.option == option::GO {
            Progress::Chosen(Choice { offer, structured: self.structured })
        } else {
            Progress::Answered
        }
    }

    /// The offer of this name. The empty one is the default export: the only one there is.
    fn find(&self, name: &[u8]) -> Option<(usize, &Geometry)> {
        let index = match (&self.offers[..], name) {
            ([_], []) => 0,
            (offers, name) => offers.iter().position(|offer| offer.name.as_bytes() == name)?,
        };
        Some((index, &self.offers[index].geometry))
    }

    fn flags(&self, geometry: &Geometry) -> u16 {
        let writable = flag::SEND_WRITE_ZEROES | if geometry.discard { flag::SEND_TRIM } else { 0 };
        flag::HAS_FLAGS
            | flag::SEND_FLUSH
            | flag::SEND_FUA
            | flag::CAN_MULTI_CONN
            | if geometry.read_only { flag::READ_ONLY } else { writable }
            | if self.structured { flag::SEND_DF } else { 0 }
    }
}

/// Whether the client does without the zeroes.
fn no_zeroes(client_flags: u32) -> Result<bool, ProtocolError> {
    let (fixed, no_zeroes) = (u32::from(handshake::FIXED_NEWSTYLE), u32::from(handshake::NO_ZEROES));
    if client_flags & !(fixed | no_zeroes) != 0 {
        return Err(ProtocolError::ClientFlags(client_flags));
    }
    Ok(client_flags & no_zeroes != 0)
}

/// The name in the data of NBD_OPT_GO: its length and itself, and then a number of information requests as it says.
fn name_of(data: &[u8]) -> Option<&[u8]> {
    let (len, rest) = data.split_first_chunk::<4>()?;
    let (name, rest) = rest.split_at_checked(u32::from_be_bytes(*len) as usize)?;
    let (count, requests) = rest.split_first_chunk::<2>()?;
    let is_whole = requests.len() == usize::from(u16::from_be_bytes(*count)) * 2;
    (is_whole && name.len() <= MAX_NAME_LEN).then_some(name)
}

fn reply(output: &mut Vec<u8>, request: &Request<'_>, kind: u32, data: &[u8]) {
    output.extend(OPTION_REPLY_MAGIC.to_be_bytes());
    output.extend(request.option.to_be_bytes());
    output.extend(kind.to_be_bytes());
    output.extend(u32::try_from(data.len()).expect("a reply").to_be_bytes());
    output.extend(data);
}

fn be_u32(bytes: &[u8]) -> u32 {
    u32::from_be_bytes(bytes.try_into().expect("four bytes"))
}

fn be_u64(bytes: &[u8]) -> u64 {
    u64::from_be_bytes(bytes.try_into().expect("eight bytes"))
}

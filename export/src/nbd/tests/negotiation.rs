use super::super::ProtocolError;
use super::super::buffers::Input;
use super::super::negotiation::{Choice, Negotiation, Offer, Progress};
use super::super::wire::{flag, info, option, option_reply};
use super::{fill, geometry};
use crate::block::Geometry;
use proptest::prelude::*;

fn offers() -> Vec<Offer> {
    let offer = |name: &str, geometry| Offer { name: name.into(), geometry };
    let large = Geometry { block_len: 4096, read_only: true, discard: false, ..geometry() };
    vec![offer("a", geometry()), offer("b", large)]
}

fn option_message(option: u32, data: &[u8]) -> Vec<u8> {
    let len = (data.len() as u32).to_be_bytes();
    [&b"IHAVEOPT"[..], &option.to_be_bytes(), &len, data].concat()
}

fn go(name: &[u8]) -> Vec<u8> {
    [&(name.len() as u32).to_be_bytes()[..], name, &1u16.to_be_bytes(), &info::BLOCK_SIZE.to_be_bytes()]
        .concat()
}

/// What the server says to `bytes`, after the greeting, and how it stands then.
fn talk(offers: Vec<Offer>, bytes: &[u8]) -> (Vec<u8>, Result<Progress, ProtocolError>) {
    let mut output = Vec::new();
    let mut negotiation = Negotiation::new(offers, &mut output);
    assert_eq!(output, [&b"NBDMAGICIHAVEOPT"[..], &[0, 3]].concat(), "the greeting");
    output.clear();
    let mut input = Input::new();
    assert_eq!(fill(&mut input, bytes), bytes.len());
    loop {
        match negotiation.handle(&mut input, &mut output) {
            Ok(Progress::Answered) => {}
            end => return (output, end),
        }
    }
}

/// The replies in `output`: option, kind and data.
fn replies(mut output: &[u8]) -> Vec<(u32, u32, Vec<u8>)> {
    let mut replies = Vec::new();
    while !output.is_empty() {
        let number = |at: usize| u32::from_be_bytes(output[at..at + 4].try_into().unwrap());
        assert_eq!(output[..8], [0, 3, 0xe8, 0x89, 4, 0x55, 0x65, 0xa9]);
        let len = number(16) as usize;
        replies.push((number(8), number(12), output[20..20 + len].to_vec()));
        output = &output[20 + len..];
    }
    replies
}

#[test]
fn a_client_lists_asks_and_goes() {
    let name = |name: &str| [&(name.len() as u32).to_be_bytes()[..], name.as_bytes()].concat();
    let bytes = [
        vec![0, 0, 0, 3],
        option_message(5, &[]),
        option_message(option::STRUCTURED_REPLY, &[]),
        option_message(option::LIST, &[]),
        option_message(option::LIST, b"x"),
        option_message(option::INFO, &go(b"c")),
        option_message(option::GO, &go(b"b")[1..]),
        option_message(option::GO, &go(b"b")),
    ]
    .concat();
    let (output, end) = talk(offers(), &bytes);
    assert_eq!(end, Ok(Progress::Chosen(Choice { offer: 1, structured: true })));
    let flags = flag::HAS_FLAGS
        | flag::READ_ONLY
        | flag::SEND_FLUSH
        | flag::SEND_FUA
        | flag::SEND_DF
        | flag::CAN_MULTI_CONN;
    let export = [&[0, 0][..], &(512u64 * 4096).to_be_bytes(), &flags.to_be_bytes()].concat();
    let block_size = [0, 3, 0, 0, 0x10, 0, 0, 0, 0x10, 0, 2, 0, 0, 0].to_vec();
    let replies = replies(&output);
    let plain: Vec<_> = replies.iter().map(|(option, kind, _)| (*option, *kind)).collect();
    assert_eq!(
        plain,
        [
            (5, option_reply::ERR_UNSUP),
            (option::STRUCTURED_REPLY, option_reply::ACK),
            (option::LIST, option_reply::SERVER),
            (option::LIST, option_reply::SERVER),
            (option::LIST, option_reply::ACK),
            (option::LIST, option_reply::ERR_INVALID),
            (option::INFO, option_reply::ERR_UNKNOWN),
            (option::GO, option_reply::ERR_INVALID),
            (option::GO, option_reply::INFO),
            (option::GO, option_reply::INFO),
            (option::GO, option_reply::ACK),
        ]
    );
    assert_eq!((&replies[2].2, &replies[3].2), (&name("a"), &name("b")));
    assert_eq!((&replies[8].2, &replies[9].2), (&export, &block_size));
}

#[test]
fn the_only_export_is_the_default() {
    let bytes = [vec![0, 0, 0, 1], option_message(option::EXPORT_NAME, b"")].concat();
    let only = || offers()[..1].to_vec();
    let (output, end) = talk(only(), &bytes);
    assert_eq!(end, Ok(Progress::Chosen(Choice { offer: 0, structured: false })));
    assert_eq!(output.len(), 8 + 2 + 124, "size, flags, zeroes");
    assert_eq!(output[..8], (512u64 * 512).to_be_bytes());
    let no_zeroes = [vec![0, 0, 0, 3], option_message(option::EXPORT_NAME, b"")].concat();
    assert_eq!(talk(only(), &no_zeroes).0.len(), 8 + 2);
    assert_eq!(talk(offers(), &bytes).1, Err(ProtocolError::NoExport), "of two, none is");
    let (output, end) = talk(offers(), &[vec![0, 0, 0, 3], option_message(option::ABORT, &[])].concat());
    assert_eq!((replies(&output).len(), end), (1, Ok(Progress::Aborted)));
}

#[test]
fn what_no_client_says_ends_the_connection() {
    assert_eq!(talk(offers(), &[0, 0, 0, 4]).1, Err(ProtocolError::ClientFlags(4)));
    let wrong = [&[0, 0, 0, 3][..], &[7; 16]].concat();
    assert!(matches!(talk(offers(), &wrong).1, Err(ProtocolError::Magic { .. })));
    let mut long = [vec![0, 0, 0, 3], option_message(option::GO, &[])].concat();
    long[16..20].copy_from_slice(&1_000_000u32.to_be_bytes());
    assert_eq!(talk(offers(), &long).1, Err(ProtocolError::LongOption(1_000_000)));
}

/// Messages that are nearly right.
fn message() -> impl Strategy<Value = Vec<u8>> {
    let data = prop_oneof![
        Just(Vec::new()),
        proptest::sample::select(vec!["a", "b", "", "xyz"]).prop_map(|name| go(name.as_bytes())),
        proptest::collection::vec(any::<u8>(), 0..40),
    ];
    let whole = (0u32..12, data).prop_map(|(option, data)| option_message(option, &data));
    (whole, proptest::option::weighted(0.1, (any::<proptest::sample::Index>(), any::<u8>()))).prop_map(
        |(mut message, damage)| {
            if let Some((at, byte)) = damage {
                let at = at.index(message.len());
                message[at] = byte;
            }
            message
        },
    )
}

proptest! {
    /// The same answers, in whatever pieces the bytes come; and no bytes make more of an answer than a few lines a
    /// message.
    #[test]
    fn any_bytes_in_any_pieces(
        flags in 0u8..5,
        messages in proptest::collection::vec(message(), 0..12),
        pieces in proptest::collection::vec(1usize..70, 60),
    ) {
        let bytes = [vec![0, 0, 0, flags], messages.concat()].concat();
        let (whole, end) = talk(offers(), &bytes);
        prop_assert!(whole.len() <= 256 * (messages.len() + 1));
        let mut greeting = Vec::new();
        let mut negotiation = Negotiation::new(offers(), &mut greeting);
        let (mut input, mut output, mut rest) = (Input::new(), Vec::new(), &bytes[..]);
        let mut last = Ok(Progress::Incomplete);
        for piece in pieces.into_iter().chain([usize::MAX]) {
            let piece = piece.min(rest.len());
            fill(&mut input, &rest[..piece]);
            rest = &rest[piece..];
            loop {
                last = negotiation.handle(&mut input, &mut output);
                if last != Ok(Progress::Answered) {
                    break;
                }
            }
            if last != Ok(Progress::Incomplete) {
                break;
            }
        }
        prop_assert_eq!(last, end);
        prop_assert_eq!(output, whole);
    }
}

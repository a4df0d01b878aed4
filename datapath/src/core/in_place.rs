//! Read data that its consumer takes where it was received: the frame is lent to the command, and copied if it can't be.
//!
//! Frames may come twice, late and overlapping, by whatever a fabric does and after an SRR. Of bytes that come again, those
//! count that came first: a frame is only taken for what was not there, so that no byte of a command is in two places, and
//! none changes. A frame that brings nothing new is not kept.

use super::exchange::Exchange;
use super::rx::{Event, completion, place};
use super::{Core, Counters, DropReason};
use crate::port::{Frame, Port};
use fc::in_place::InPlace;
use fc::messages::Transfer;
use fc::time::Instant;
use fc::wire::ethernet::EthernetHeader;
use fc::wire::fcoe::PROLOGUE_LEN;
use fc::wire::header::{FcHeader, HEADER_LEN};
use std::ops::Range;

/// What a frame brings to a command that was not there.
pub(super) struct News {
    index: u16,
    /// Where in the frame it begins.
    start: u16,
    len: u16,
    /// Where in the command's data it belongs.
    offset: u32,
}

impl News {
    fn range(&self) -> Range<usize> {
        self.start.into()..usize::from(self.start) + usize::from(self.len)
    }
}

/// FCP_DATA of a command that takes it in place: notes what of it is new, which the caller then lends.
pub(super) fn read_data(
    exchange: &mut Exchange,
    index: u16,
    ethernet: &EthernetHeader,
    header: &FcHeader,
    payload: &[u8],
    counters: &mut Counters,
) -> Result<Event, DropReason> {
    let (start, end) = place(header, payload, exchange.transfer.len())?;
    let Some(new) = exchange.moved.first_missing(start, end) else {
        counters.read_bytes += payload.len() as u64;
        return Ok(Event::Nothing);
    };
    if exchange.moved.first_missing(new.end, end).is_some() {
        fill_gaps(exchange, start, payload)?;
        counters.read_bytes += payload.len() as u64;
        return Ok(completion(exchange, index));
    }
    exchange.moved.add(start, end).map_err(|_| DropReason::Gaps)?;
    counters.read_bytes += payload.len() as u64;
    let payload_start = ethernet.len() + PROLOGUE_LEN + HEADER_LEN;
    Ok(Event::New(News {
        index,
        start: (payload_start + (new.start - start) as usize) as u16,
        len: (new.end - new.start) as u16,
        offset: new.start,
    }))
}

/// Copies a frame that fills several gaps: so rare that it is not worth a piece for each.
#[cold]
fn fill_gaps(exchange: &mut Exchange, start: u32, payload: &[u8]) -> Result<(), DropReason> {
    let end = start + payload.len() as u32;
    let before = exchange.moved;
    exchange.moved.add(start, end).map_err(|_| DropReason::Gaps)?;
    let (read, mut from) = (in_place(exchange), start);
    while let Some(gap) = before.first_missing(from, end) {
        read.copy(gap.start, &payload[(gap.start - start) as usize..(gap.end - start) as usize]);
        from = gap.end;
    }
    Ok(())
}

impl<P: Port> Core<P> {
    /// Lends the frame to its command, or copies its data.
    pub(super) fn keep(&mut self, now: Instant, frame: Frame, news: &News) {
        let read = in_place(self.exchanges.get_mut(news.index));
        match self.port.lend(frame, news.range(), read, news.offset) {
            Ok(()) => self.counters.lent_bytes += u64::from(news.len),
            Err(frame) => {
                read.copy(news.offset, &self.port.data(&frame)[news.range()]);
                self.port.release(frame);
            }
        }
        self.complete_read(now, news.index);
    }

    /// Copies the data of a frame that is not this port's.
    pub(super) fn copy_news(&mut self, now: Instant, bytes: &[u8], news: &News) {
        in_place(self.exchanges.get_mut(news.index)).copy(news.offset, &bytes[news.range()]);
        self.complete_read(now, news.index);
    }

    fn complete_read(&mut self, now: Instant, index: u16) {
        if let Event::Completed(index, ref ended) = completion(self.exchanges.get(index), index) {
            self.end(now, index, ended);
        }
    }
}

fn in_place(exchange: &mut Exchange) -> &mut InPlace {
    match &mut exchange.transfer {
        Transfer::ReadInPlace(read) => read,
        _ => unreachable!("asked when its frame was looked at"),
    }
}

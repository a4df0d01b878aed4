//! The end that answers.

use super::shape::{Kind, Label};
use datapath::port::{Frame, Port};
use std::collections::VecDeque;
use std::io;
use xfcoe::netns::{INITIATOR_MAC, SAN_MAC};

pub(super) struct Target<P> {
    port: P,
    batch: usize,
    received: Vec<Frame>,
    /// Frames to send.
    queue: VecDeque<Label>,
}

impl<P: Port> Target<P> {
    pub(super) fn new(port: P, batch: usize) -> Self {
        Self { port, batch, received: Vec::with_capacity(batch), queue: VecDeque::new() }
    }

    /// Takes what has come, and sends what there is room for.
    pub(super) fn step(&mut self) -> io::Result<()> {
        self.port.receive(&mut self.received, self.batch);
        for frame in self.received.drain(..) {
            if let Some(label) = Label::parse(self.port.data(&frame)) {
                answer(label, &mut self.queue);
            }
            self.port.release(frame);
        }
        send(&mut self.port, &mut self.queue, self.batch, |label, buffer| {
            label.emit(buffer, SAN_MAC, INITIATOR_MAC)
        })
    }
}

/// What a target sends after such a frame.
fn answer(label: Label, queue: &mut VecDeque<Label>) {
    let response = Label { kind: Kind::Response, ..label };
    match label.kind {
        Kind::Read => {
            queue.extend((0..label.frames).map(|number| Label { kind: Kind::Data, number, ..label }));
            queue.push_back(response);
        }
        Kind::Write => queue.push_back(Label { kind: Kind::Ready, ..label }),
        Kind::Data if label.number + 1 == label.frames => queue.push_back(response),
        Kind::Data | Kind::Ready | Kind::Response => {}
    }
}

/// Sends a batch of what waits, by one doorbell, as far as there is room.
pub(super) fn send(
    port: &mut impl Port,
    queue: &mut VecDeque<Label>,
    batch: usize,
    emit: impl Fn(Label, &mut [u8]) -> usize,
) -> io::Result<()> {
    for _ in 0..batch.min(queue.len()) {
        let Some(mut frame) = port.allocate() else { break };
        let label = queue.pop_front().expect("counted above");
        let len = emit(label, port.buffer(&mut frame));
        port.set_len(&mut frame, len);
        port.send(frame);
    }
    port.flush()
}

//! Buffers of operations that have ended, to be used again.

/// Some buffers, of some bytes at most.
pub(crate) struct Buffers {
    free: Vec<Box<[u8]>>,
    len: usize,
    most: usize,
    most_len: usize,
}

impl Buffers {
    /// None yet; no more than `most` of them, with `most_len` bytes in all, are ever kept.
    pub(crate) fn new(most: usize, most_len: usize) -> Self {
        Self { free: Vec::new(), len: 0, most, most_len }
    }

    /// A buffer with anything in it.
    pub(crate) fn take(&mut self, len: usize) -> Box<[u8]> {
        match self.free.iter().rposition(|buffer| buffer.len() == len) {
            Some(at) => {
                self.len -= len;
                self.free.swap_remove(at)
            }
            None => vec![0; len].into(),
        }
    }

    /// Keeps a buffer, and lets go of others for it.
    pub(crate) fn give_back(&mut self, buffer: Box<[u8]>) {
        while self.free.len() == self.most || self.len + buffer.len() > self.most_len {
            let Some(other) = self.free.pop() else { return };
            self.len -= other.len();
        }
        self.len += buffer.len();
        self.free.push(buffer);
    }
}

//! A queue for what is said and done at one moment.

use alloc::collections::VecDeque;

/// First in, first out. It has memory only while something is in it: machines that wait, of which there may be thousands,
/// are to be small.
#[derive(Clone, Debug)]
pub(crate) struct Queue<T>(VecDeque<T>);

impl<T> Queue<T> {
    pub(crate) const fn new() -> Self {
        Self(VecDeque::new())
    }

    pub(crate) fn push_back(&mut self, item: T) {
        self.0.push_back(item);
    }

    pub(crate) fn pop_front(&mut self) -> Option<T> {
        let item = self.0.pop_front();
        if self.0.is_empty() {
            self.clear();
        }
        item
    }

    pub(crate) fn clear(&mut self) {
        self.0 = VecDeque::new();
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }
}

impl<T> Extend<T> for Queue<T> {
    fn extend<I: IntoIterator<Item = T>>(&mut self, items: I) {
        self.0.extend(items);
    }
}

//! Choices that a seed repeats.

use datapath::port::faults::Dice;

/// A source of choices.
#[derive(Clone, Debug)]
pub(crate) struct Chance(Dice);

impl Chance {
    pub(crate) const fn new(seed: u64) -> Self {
        Self(Dice::new(seed))
    }

    /// A seed for another source.
    pub(crate) fn seed(&mut self) -> u64 {
        self.0.roll().detail()
    }

    /// A number below `end`, which is not 0.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.0.roll().detail() % end
    }

    /// A number from `first` to `last`.
    pub(crate) fn between(&mut self, first: u64, last: u64) -> u64 {
        first + self.below(last - first + 1)
    }

    /// Whether something happens that happens so often in a million times.
    pub(crate) fn happens(&mut self, ppm: u32) -> bool {
        self.pick(&[(ppm, ())]).is_some()
    }

    /// What is hit, if each thing has this many parts of a million.
    pub(crate) fn pick<T: Copy>(&mut self, shares: &[(u32, T)]) -> Option<T> {
        self.0.roll().pick(shares)
    }

    /// One of these, of which there is at least one.
    pub(crate) fn one_of<T: Copy>(&mut self, these: &[T]) -> T {
        these[self.below(these.len() as u64) as usize]
    }
}

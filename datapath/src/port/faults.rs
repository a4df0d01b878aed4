//! What a bad link does to frames, decided by a seed: a value without a port or a clock.
//!
//! [`Fates`] says of each frame what becomes of it; whoever moves the frame does it. The same seed and the same
//! frames give the same fates. [`super::faulty::FaultyPort`] is a port that does what they say.

use fc::time::Duration;
use std::fmt;

/// What rates are parts of.
pub const MILLION: u32 = 1_000_000;
/// The most orders that wait: each is asked about each frame.
pub const MAX_ORDERS: usize = 64;

/// What becomes of a frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fate {
    /// It arrives.
    Deliver,
    /// It is lost.
    Drop,
    /// It arrives twice.
    Duplicate,
    /// It arrives with one bit flipped: this one, counted from the first byte's lowest and round its end.
    Corrupt {
        /// The bit's number.
        bit: u64,
    },
    /// It arrives without its end.
    Truncate {
        /// The bytes that are left; a shorter frame arrives whole.
        len: usize,
    },
    /// It arrives this much later.
    Delay(Duration),
    /// It arrives after the one that follows.
    Reorder,
}

/// How often each fault happens, in frames of a million. A frame has one fate, so all together are a million at
/// most.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Rates {
    /// [`Fate::Drop`]
    pub loss_ppm: u32,
    /// [`Fate::Duplicate`]
    pub duplicate_ppm: u32,
    /// [`Fate::Corrupt`], any bit
    pub corrupt_ppm: u32,
    /// [`Fate::Truncate`], to any length
    pub truncate_ppm: u32,
    /// [`Fate::Reorder`]
    pub reorder_ppm: u32,
    /// [`Fate::Delay`]
    pub delay_ppm: u32,
    /// By how much a delayed frame is delayed.
    pub delay: Duration,
}

impl Rates {
    /// All of them together.
    pub fn total_ppm(&self) -> u64 {
        let Self { loss_ppm, duplicate_ppm, corrupt_ppm, truncate_ppm, reorder_ppm, delay_ppm, delay: _ } =
            *self;
        [loss_ppm, duplicate_ppm, corrupt_ppm, truncate_ppm, reorder_ppm, delay_ppm]
            .map(u64::from)
            .iter()
            .sum()
    }
}

/// How many frames had which fate, since the beginning. Those delivered while nothing was to go wrong don't count.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct FaultCounters {
    /// [`Fate::Deliver`]
    pub delivered: u64,
    /// [`Fate::Drop`]
    pub lost: u64,
    /// [`Fate::Duplicate`]
    pub duplicated: u64,
    /// [`Fate::Corrupt`]
    pub corrupted: u64,
    /// [`Fate::Truncate`]
    pub truncated: u64,
    /// [`Fate::Reorder`]
    pub reordered: u64,
    /// [`Fate::Delay`]
    pub delayed: u64,
}

/// Chances that a seed repeats: SplitMix64 (Steele, Lea, Flood, 2014).
#[derive(Clone, Debug)]
pub struct Dice(u64);

/// One throw of [`Dice`].
#[derive(Clone, Copy, Debug)]
pub struct Roll(u64);

impl Dice {
    /// Equal seeds give equal chances.
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next throw.
    pub fn roll(&mut self) -> Roll {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        Roll(z ^ (z >> 31))
    }
}

impl Roll {
    /// What the throw hits, if each thing has this many parts of a million.
    pub fn pick<T: Copy>(self, shares: &[(u32, T)]) -> Option<T> {
        let mut point = (self.0 % u64::from(MILLION)) as u32;
        for &(ppm, what) in shares {
            match point.checked_sub(ppm) {
                None => return Some(what),
                Some(rest) => point = rest,
            }
        }
        None
    }

    /// A number that tells nothing of what [`Self::pick`] gives.
    pub const fn detail(self) -> u64 {
        self.0 / MILLION as u64
    }
}

type Predicate = Box<dyn FnMut(&[u8]) -> bool + Send>;

/// A fate for the next frames of a kind.
struct Order {
    fate: Fate,
    left: u32,
    matches: Predicate,
}

/// Decides the fate of each frame that passes, in one direction.
pub struct Fates {
    /// Thrown once a frame, whatever the rates.
    dice: Dice,
    rates: Rates,
    orders: Vec<Order>,
    counters: FaultCounters,
}

impl fmt::Debug for Fates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { dice, rates, orders, counters } = self;
        let orders: Vec<_> = orders.iter().map(|order| (order.fate, order.left)).collect();
        f.debug_struct("Fates")
            .field("dice", dice)
            .field("rates", rates)
            .field("orders", &orders)
            .field("counters", counters)
            .finish()
    }
}

impl Fates {
    /// Every frame arrives, until something else is wanted.
    pub fn new(seed: u64) -> Self {
        Self {
            dice: Dice::new(seed),
            rates: Rates::default(),
            orders: Vec::new(),
            counters: FaultCounters::default(),
        }
    }

    /// Faults happen at these rates from now on.
    ///
    /// # Panics
    /// If they are more than a million together.
    pub fn set_rates(&mut self, rates: Rates) {
        assert!(rates.total_ppm() <= MILLION.into(), "fates of more than all frames: {rates:?}");
        self.rates = rates;
    }

    /// How often faults happen.
    pub fn rates(&self) -> Rates {
        self.rates
    }

    /// The next `count` frames, counted from the Ethernet header on, of which `matches` says yes have this fate.
    /// `matches` sees every frame that no earlier order took, and may count. An order comes before the rates.
    ///
    /// # Panics
    /// If [`MAX_ORDERS`] wait already.
    pub fn order(&mut self, fate: Fate, count: u32, matches: impl FnMut(&[u8]) -> bool + Send + 'static) {
        if count > 0 {
            assert!(self.orders.len() < MAX_ORDERS, "more than {MAX_ORDERS} orders wait");
            self.orders.push(Order { fate, left: count, matches: Box::new(matches) });
        }
    }

    /// Chances begin anew with this seed.
    pub fn set_seed(&mut self, seed: u64) {
        self.dice = Dice::new(seed);
    }

    /// Orders that wait for frames, at most [`MAX_ORDERS`].
    pub fn waiting_orders(&self) -> usize {
        self.orders.len()
    }

    /// Nothing goes wrong from now on.
    pub fn heal(&mut self) {
        self.rates = Rates::default();
        self.orders.clear();
    }

    /// Whether nothing is to go wrong.
    pub fn are_kind(&self) -> bool {
        self.orders.is_empty() && self.rates.total_ppm() == 0
    }

    /// How many frames had which fate.
    pub fn counters(&self) -> FaultCounters {
        self.counters
    }

    /// What becomes of this frame.
    pub fn decide(&mut self, frame: &[u8]) -> Fate {
        if self.are_kind() {
            return Fate::Deliver;
        }
        let roll = self.dice.roll();
        let fate = self.ordered(frame).unwrap_or_else(|| self.rated(roll, frame.len()));
        let FaultCounters { delivered, lost, duplicated, corrupted, truncated, reordered, delayed } =
            &mut self.counters;
        *match fate {
            Fate::Deliver => delivered,
            Fate::Drop => lost,
            Fate::Duplicate => duplicated,
            Fate::Corrupt { .. } => corrupted,
            Fate::Truncate { .. } => truncated,
            Fate::Reorder => reordered,
            Fate::Delay(_) => delayed,
        } += 1;
        fate
    }

    fn ordered(&mut self, frame: &[u8]) -> Option<Fate> {
        let at = self.orders.iter_mut().position(|order| (order.matches)(frame))?;
        let order = &mut self.orders[at];
        let fate = order.fate;
        order.left -= 1;
        if order.left == 0 {
            self.orders.remove(at);
        }
        Some(fate)
    }

    /// `roll` says which fate, and its details.
    fn rated(&self, roll: Roll, len: usize) -> Fate {
        let rates = &self.rates;
        let cut = roll.detail() % len.max(1) as u64;
        let faults = [
            (rates.loss_ppm, Fate::Drop),
            (rates.duplicate_ppm, Fate::Duplicate),
            (rates.corrupt_ppm, Fate::Corrupt { bit: roll.detail() }),
            (rates.truncate_ppm, Fate::Truncate { len: cut as usize }),
            (rates.reorder_ppm, Fate::Reorder),
            (rates.delay_ppm, Fate::Delay(rates.delay)),
        ];
        roll.pick(&faults).unwrap_or(Fate::Deliver)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    const RATES: Rates = Rates {
        loss_ppm: 10_000,
        duplicate_ppm: 20_000,
        corrupt_ppm: 30_000,
        truncate_ppm: 40_000,
        reorder_ppm: 50_000,
        delay_ppm: 60_000,
        delay: Duration::from_micros(7),
    };

    fn fates(seed: u64, rates: Rates) -> Fates {
        let mut fates = Fates::new(seed);
        fates.set_rates(rates);
        fates
    }

    #[test]
    fn each_fate_is_as_frequent_as_its_rate_and_repeats_with_the_seed() {
        const FRAMES: u64 = 200_000;
        let (mut fates, mut again, mut other) = (fates(1, RATES), fates(1, RATES), fates(2, RATES));
        let mut differ = 0;
        for _ in 0..FRAMES {
            let fate = fates.decide(&[0; 100]);
            assert_eq!(again.decide(&[0; 100]), fate);
            differ += u64::from(other.decide(&[0; 100]) != fate);
            match fate {
                Fate::Truncate { len } => assert!(len < 100),
                Fate::Delay(delay) => assert_eq!(delay, RATES.delay),
                _ => {}
            }
        }
        assert!(differ > FRAMES / 5, "the seed decides nothing");
        let FaultCounters { delivered, lost, duplicated, corrupted, truncated, reordered, delayed } =
            fates.counters();
        let counted = [lost, duplicated, corrupted, truncated, reordered, delayed];
        assert_eq!(counted.iter().sum::<u64>() + delivered, FRAMES);
        for (percent, frames) in (1..).zip(counted) {
            let expected = FRAMES * percent / 100;
            assert!(frames.abs_diff(expected) < expected / 10, "{percent}%: {frames} of {FRAMES}");
        }
    }

    #[test]
    fn one_rate_does_not_move_the_faults_of_those_before_it() {
        let mut both = fates(3, RATES);
        let mut only_loss = fates(3, Rates { loss_ppm: RATES.loss_ppm, ..Rates::default() });
        for _ in 0..10_000 {
            let lost = only_loss.decide(&[]) == Fate::Drop;
            assert_eq!(both.decide(&[]) == Fate::Drop, lost);
        }
        assert!(only_loss.counters().lost > 50);
    }

    #[test]
    fn orders_take_the_next_frames_that_match_and_come_before_the_rates() {
        let mut fates = fates(4, Rates { duplicate_ppm: MILLION, ..Rates::default() });
        fates.order(Fate::Drop, 2, |frame| frame[0] == 7);
        fates.order(Fate::Reorder, 1, |_| true);
        let mut third = 3;
        fates.order(Fate::Truncate { len: 9 }, 1, move |_| {
            third -= 1;
            third == 0
        });
        let seen = [7, 7, 7, 1, 1, 1].map(|byte| fates.decide(&[byte]));
        let (drop, twice) = (Fate::Drop, Fate::Duplicate);
        assert_eq!(seen, [drop, drop, Fate::Reorder, twice, twice, Fate::Truncate { len: 9 }]);
        fates.order(Fate::Drop, 0, |_| true);
        assert_eq!(fates.decide(&[7]), twice, "none were ordered");
        fates.order(Fate::Drop, 5, |_| true);
        fates.heal();
        assert!(fates.are_kind());
        assert_eq!(fates.decide(&[7]), Fate::Deliver);
    }

    #[test]
    fn corruption_reaches_every_bit() {
        let mut fates = fates(5, Rates { corrupt_ppm: MILLION, ..Rates::default() });
        let mut bits = BTreeMap::new();
        for _ in 0..10_000 {
            let Fate::Corrupt { bit } = fates.decide(&[0; 8]) else { panic!("another fate") };
            *bits.entry(bit % 64).or_insert(0) += 1;
        }
        assert!(bits.len() == 64 && bits.values().all(|&times| times > 50), "{bits:?}");
    }

    #[test]
    #[should_panic(expected = "more than all frames")]
    fn rates_are_shares_of_all_frames() {
        fates(1, Rates { loss_ppm: MILLION, delay_ppm: 1, ..Rates::default() });
    }
}

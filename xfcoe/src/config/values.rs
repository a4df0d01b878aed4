//! The values that a key may have.

use datapath::core::thread::PollMode;
use fc::fip::{Preferred, VlanChoice};
use fc::vn_port::Topology;
use fc::wire::{MacAddr, Wwn};
use initiator::PathChoice;
use serde::de::{Deserializer, Error, SeqAccess, Unexpected, Visitor};
use std::fmt;

/// What is at the other end of the cable.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, serde::Deserialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
#[value(rename_all = "snake_case")]
pub enum Mode {
    /// A Fibre Channel fabric behind an FCF
    #[default]
    Fabric,
    /// Other ports on the same Ethernet, without an FCF
    Vn2vn,
}

impl From<Mode> for Topology {
    fn from(mode: Mode) -> Self {
        match mode {
            Mode::Fabric => Self::Fabric,
            Mode::Vn2vn => Self::Vn2vn,
        }
    }
}

/// What a poll core does when nothing comes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Polling {
    /// It spins for a while, then sleeps until the next frame or command.
    #[default]
    Adaptive,
    /// It spins: the shortest latency, for the price of a CPU.
    Busy,
    /// It spins, and drives the NIC's queue, which then has no interrupts.
    Drive,
}

/// Who provides VN_Ports' MAC addresses.
#[derive(
    Clone, Copy, PartialEq, Eq, Debug, Default, serde::Serialize, serde::Deserialize, clap::ValueEnum,
)]
#[serde(rename_all = "snake_case")]
#[value(rename_all = "snake_case")]
pub enum Addressing {
    /// The fabric (FPMA)
    #[default]
    Fabric,
    /// The ENode, which has its own for all of its VN_Ports (SPMA)
    Server,
    /// Whoever the FCF wants it to be
    Either,
}

impl From<Addressing> for initiator::Addressing {
    fn from(addressing: Addressing) -> Self {
        match addressing {
            Addressing::Fabric => Self::Fabric,
            Addressing::Server => Self::Server,
            Addressing::Either => Self::Either,
        }
    }
}

/// Which of several equally good paths takes the next command.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Paths {
    /// Each in its turn.
    #[default]
    RoundRobin,
    /// The one with the fewest commands out.
    LeastQueue,
}

impl From<Paths> for PathChoice {
    fn from(choice: Paths) -> Self {
        match choice {
            Paths::RoundRobin => Self::RoundRobin,
            Paths::LeastQueue => Self::LeastQueue,
        }
    }
}

impl From<Polling> for PollMode {
    fn from(polling: Polling) -> Self {
        match polling {
            Polling::Adaptive => Self::Adaptive,
            Polling::Busy => Self::Busy,
            Polling::Drive => Self::DriveQueue,
        }
    }
}

/// `"auto"`, `"none"` or a number.
pub(super) fn vlan<'de, D: Deserializer<'de>>(deserializer: D) -> Result<VlanChoice, D::Error> {
    struct VlanVisitor;

    impl Visitor<'_> for VlanVisitor {
        type Value = VlanChoice;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("\"auto\", \"none\" or a VLAN number from 1 to 4094")
        }

        fn visit_str<E: Error>(self, text: &str) -> Result<VlanChoice, E> {
            match text {
                "auto" => Ok(VlanChoice::Discover),
                "none" => Ok(VlanChoice::Untagged),
                _ => Err(E::invalid_value(Unexpected::Str(text), &self)),
            }
        }

        fn visit_i64<E: Error>(self, number: i64) -> Result<VlanChoice, E> {
            match u16::try_from(number) {
                Ok(id @ 1..=4094) => Ok(VlanChoice::Fixed(id)),
                _ => Err(E::invalid_value(Unexpected::Signed(number), &self)),
            }
        }
    }

    deserializer.deserialize_any(VlanVisitor)
}

/// A number, or several in brackets.
pub(super) fn numbers<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u16>, D::Error> {
    struct Numbers;

    impl<'de> Visitor<'de> for Numbers {
        type Value = Vec<u16>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a whole number from 0 to 65535, or several such as [0, 1]")
        }

        fn visit_i64<E: Error>(self, number: i64) -> Result<Vec<u16>, E> {
            let one = u16::try_from(number).map(|one| vec![one]);
            one.map_err(|_| E::invalid_value(Unexpected::Signed(number), &self))
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Vec<u16>, A::Error> {
            let mut numbers = Vec::new();
            while let Some(number) = list.next_element()? {
                if numbers.contains(&number) {
                    return Err(A::Error::custom(format!("{number} is there twice")));
                }
                numbers.push(number);
            }
            if numbers.is_empty() {
                return Err(A::Error::invalid_length(0, &self));
            }
            Ok(numbers)
        }
    }

    deserializer.deserialize_any(Numbers)
}

/// A World Wide Name in quotes.
pub(super) fn wwn<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Wwn>, D::Error> {
    let expected = "eight hex bytes such as \"20:00:02:fc:f0:00:02:01\"";
    deserializer.deserialize_str(Text { expected, parse: |text| text.parse().ok() }).map(Some)
}

/// A MAC address in quotes.
pub(super) fn mac<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<MacAddr>, D::Error> {
    let expected = "six hex bytes such as \"02:fc:f0:00:02:01\"";
    deserializer.deserialize_str(Text { expected, parse: |text| text.parse().ok() }).map(Some)
}

/// A switch name or an FCF's MAC address in quotes.
pub(super) fn preferred_fcf<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Preferred>, D::Error> {
    let expected = "a switch name such as \"10:00:02:fc:f0:00:00:01\" or an FCF's MAC address such as \
                    \"02:fc:f0:00:00:01\"";
    let parse = |text: &str| {
        let switch = text.parse().map(Preferred::Switch).ok();
        switch.or_else(|| text.parse().map(Preferred::Mac).ok())
    };
    deserializer.deserialize_str(Text { expected, parse }).map(Some)
}

/// What somebody may have meant who named something that isn't there.
pub(crate) fn there_are(names: impl IntoIterator<Item = impl fmt::Display>) -> String {
    let names: Vec<_> = names.into_iter().map(|name| format!("`{name}`")).collect();
    if names.is_empty() { "there are none".into() } else { format!("there are: {}", names.join(", ")) }
}

/// A value that is written as a text.
struct Text<T> {
    expected: &'static str,
    parse: fn(&str) -> Option<T>,
}

impl<T> Visitor<'_> for Text<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.expected)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<T, E> {
        (self.parse)(text).ok_or_else(|| E::invalid_value(Unexpected::Str(text), &self))
    }
}

//! The values that a key may have.

use fc::wire::Wwn;
use serde::de::{Deserialize, Deserializer, Error, Unexpected, Visitor};
use std::fmt;

/// What is at the other end of the cable.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// A Fibre Channel fabric behind an FCF (FC-BB-5, 7.4).
    #[default]
    Fabric,
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
}

/// The VLAN that the fabric is on.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum FabricVlan {
    /// Asked for by FIP VLAN discovery (FC-BB-5, 7.9.2.2).
    #[default]
    Auto,
    /// No tag.
    Untagged,
    /// This one, 1..=4094.
    Id(u16),
}

impl<'de> Deserialize<'de> for FabricVlan {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct VlanVisitor;

        impl Visitor<'_> for VlanVisitor {
            type Value = FabricVlan;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("\"auto\", \"none\" or a VLAN number from 1 to 4094")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<FabricVlan, E> {
                match text {
                    "auto" => Ok(FabricVlan::Auto),
                    "none" => Ok(FabricVlan::Untagged),
                    _ => Err(E::invalid_value(Unexpected::Str(text), &self)),
                }
            }

            fn visit_i64<E: Error>(self, number: i64) -> Result<FabricVlan, E> {
                match u16::try_from(number) {
                    Ok(id @ 1..=4094) => Ok(FabricVlan::Id(id)),
                    _ => Err(E::invalid_value(Unexpected::Signed(number), &self)),
                }
            }
        }

        deserializer.deserialize_any(VlanVisitor)
    }
}

/// A World Wide Name in quotes.
pub(super) fn wwn<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Wwn>, D::Error> {
    struct WwnVisitor;

    impl Visitor<'_> for WwnVisitor {
        type Value = Wwn;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("eight hex bytes such as \"20:00:02:fc:f0:00:00:01\"")
        }

        fn visit_str<E: Error>(self, text: &str) -> Result<Wwn, E> {
            text.parse().map_err(|_| E::invalid_value(Unexpected::Str(text), &self))
        }
    }

    deserializer.deserialize_str(WwnVisitor).map(Some)
}

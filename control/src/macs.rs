//! The MAC addresses that frames reach us by.

use crate::edge::Edge;
use fc::wire::MacAddr;
use std::collections::BTreeMap;

/// The addresses of ENodes and VN_Ports. One may be that of several: where the server provides addresses, all VN_Ports
/// have that of their ENode.
#[derive(Debug)]
pub(crate) struct Macs(BTreeMap<MacAddr, Use>);

#[derive(Debug)]
struct Use {
    users: usize,
    /// It came as the source of a frame that we did not send.
    is_elsewhere: bool,
}

impl Macs {
    /// Only the interface's own, by which frames come anyway.
    pub(crate) fn new(own: MacAddr) -> Self {
        Self(BTreeMap::from([(own, Use { users: 1, is_elsewhere: false })]))
    }

    /// One more uses this address.
    pub(crate) fn add(&mut self, mac: MacAddr, edge: &mut impl Edge) {
        let of_mac = self.0.entry(mac).or_insert(Use { users: 0, is_elsewhere: false });
        of_mac.users += 1;
        if of_mac.users == 1 {
            edge.add_mac(mac);
        }
    }

    /// One of those that use this address does so no more.
    ///
    /// # Panics
    /// If nobody did.
    pub(crate) fn remove(&mut self, mac: MacAddr, edge: &mut impl Edge) {
        let of_mac = self.0.get_mut(&mac).expect("it was added");
        of_mac.users -= 1;
        if of_mac.users == 0 {
            self.0.remove(&mac);
            edge.remove_mac(mac);
        }
    }

    /// A frame that we did not send has come from this address.
    pub(crate) fn heard(&mut self, source: MacAddr) -> Heard {
        let Some(of_mac) = self.0.get_mut(&source) else { return Heard::Foreign };
        if std::mem::replace(&mut of_mac.is_elsewhere, true) { Heard::OursAgain } else { Heard::Ours }
    }

    /// Those of ours that someone else has, too.
    pub(crate) fn elsewhere(&self) -> impl Iterator<Item = MacAddr> {
        self.0.iter().filter(|(_, of_mac)| of_mac.is_elsewhere).map(|(&mac, _)| mac)
    }
}

/// Whose a source address is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Heard {
    /// Someone else's, as it should be.
    Foreign,
    /// Ours: someone else has it, too, which is news.
    Ours,
    /// The same once more.
    OursAgain,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_of_ours_that_comes_from_elsewhere_is_news_once() {
        let (own, other) = (MacAddr([2, 0, 0, 0, 0, 1]), MacAddr([2, 0, 0, 0, 0, 2]));
        let mut macs = Macs::new(own);
        assert_eq!(macs.heard(other), Heard::Foreign);
        assert_eq!((macs.heard(own), macs.heard(own)), (Heard::Ours, Heard::OursAgain));
        assert_eq!(macs.elsewhere().collect::<Vec<_>>(), [own]);
    }
}

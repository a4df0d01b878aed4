//! The transition table: every phase, every input.

use super::*;

/// What happens to an ENode.
#[derive(Clone, Copy, Debug)]
enum Input {
    LinkUp,
    LinkDown,
    /// An FCF's VLAN notification, and time to settle.
    Notified,
    /// A multicast advertisement.
    Advertised,
    /// A solicited advertisement, and time for others to come.
    Solicited,
    /// The same from an FCF that takes no logins.
    Unavailable,
    /// The FCF has another name than before.
    Renamed,
    /// A Clear Virtual Link for all VN_Ports.
    ClearedAll,
    /// A Clear Virtual Link for the one VN_Port.
    ClearedOne,
    /// A reply to an ELS.
    Replied,
    LoginFailed,
    /// Nobody says anything for 25 s.
    Silence,
}

/// What an event is, without its details.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    Unanswered,
    Vlan,
    Selected,
    Lost(LostReason),
    Cleared,
    Reply,
}

impl From<&Event> for Kind {
    fn from(event: &Event) -> Self {
        match event {
            Event::VlanDiscoveryUnanswered => Self::Unanswered,
            Event::VlanChosen { .. } => Self::Vlan,
            Event::FcfSelected(_) => Self::Selected,
            Event::FcfLost { reason, .. } => Self::Lost(*reason),
            Event::VnPortsCleared(_) => Self::Cleared,
            Event::ElsReply(_) => Self::Reply,
        }
    }
}

type Cell = (Phase, &'static [Kind]);

const DOWN: Phase = Phase::LinkDown;
const LAN: Phase = Phase::VlanDiscovery;
const FCF: Phase = Phase::FcfDiscovery;
const LINK: Phase = Phase::Linked;

/// For each input: the phase after it and its events, from each of the four phases.
#[rustfmt::skip]
const TABLE: [(Input, [Cell; 4]); 12] = {
    use Kind::{Cleared, Lost, Reply, Selected, Unanswered, Vlan};
    use LostReason as R;
    // from:                 link down     VLAN discovery             FCF discovery         linked
    [
        (Input::LinkUp,      [(LAN, &[]),  (LAN, &[]),                (LAN, &[]),           (LAN, &[Lost(R::LinkDown)])]),
        (Input::LinkDown,    [(DOWN, &[]), (DOWN, &[]),               (DOWN, &[]),          (DOWN, &[Lost(R::LinkDown)])]),
        (Input::Notified,    [(DOWN, &[]), (FCF, &[Vlan]),            (FCF, &[]),           (LINK, &[])]),
        (Input::Advertised,  [(DOWN, &[]), (LAN, &[]),                (FCF, &[]),           (LINK, &[])]),
        (Input::Solicited,   [(DOWN, &[]), (LAN, &[]),                (LINK, &[Selected]),  (LINK, &[])]),
        (Input::Unavailable, [(DOWN, &[]), (LAN, &[]),                (FCF, &[]),           (LINK, &[])]),
        (Input::Renamed,     [(DOWN, &[]), (LAN, &[]),                (FCF, &[]),           (FCF, &[Lost(R::Changed)])]),
        (Input::ClearedAll,  [(DOWN, &[]), (LAN, &[]),                (FCF, &[]),           (FCF, &[Lost(R::ClearVirtualLinks)])]),
        (Input::ClearedOne,  [(DOWN, &[]), (LAN, &[]),                (FCF, &[]),           (LINK, &[Cleared])]),
        (Input::Replied,     [(DOWN, &[]), (LAN, &[]),                (FCF, &[]),           (LINK, &[Reply])]),
        (Input::LoginFailed, [(DOWN, &[]), (LAN, &[]),                (FCF, &[]),           (FCF, &[Lost(R::LoginFailed)])]),
        (Input::Silence,     [(DOWN, &[]), (FCF, &[Unanswered, Vlan]), (FCF, &[]),          (FCF, &[Lost(R::AdvertisementsMissed)])]),
    ]
};

fn fcf() -> TestFcf {
    TestFcf { vlan: Some(VlanTag::new(VLAN, 3)), ..TestFcf::new(1) }
}

/// An ENode that has just come to `phase`.
fn bench_in(phase: Phase) -> Bench {
    let mut bench = Bench { enode: Enode::new(config(VlanChoice::Discover)), now: Instant::ZERO + SECOND };
    let inputs = [Input::LinkUp, Input::Notified, Input::Solicited];
    let steps = [DOWN, LAN, FCF, LINK].iter().position(|&step| step == phase).unwrap();
    inputs[..steps].iter().for_each(|&input| apply(&mut bench, input));
    if phase == LINK {
        bench.enode.add_vn_port(bench.now, vn_port(1)).unwrap();
    }
    assert_eq!(bench.enode.phase(), phase);
    bench.events();
    bench
}

fn apply(bench: &mut Bench, input: Input) {
    let fcf = fcf();
    match input {
        Input::LinkUp => bench.enode.link_up(bench.now),
        Input::LinkDown => bench.enode.link_down(),
        Input::Notified => {
            bench.receive(&fcf.notification(&[VLAN]));
            bench.wait(SECOND / 2);
        }
        Input::Advertised => bench.receive(&fcf.multicast()),
        Input::Solicited => {
            bench.receive(&fcf.solicited());
            bench.wait(SECOND * 2);
        }
        Input::Unavailable => {
            bench.receive(&TestFcf { flags: Flags::FPMA, ..fcf }.solicited());
            bench.wait(SECOND * 2);
        }
        Input::Renamed => bench.receive(&TestFcf { name: Wwn::from_u64(9), ..fcf }.multicast()),
        Input::ClearedAll => bench.receive(&fcf.frame(ENODE, &fcf.clear(&[]))),
        Input::ClearedOne => bench.receive(&fcf.frame(ENODE, &fcf.clear(&[vn_port(1)]))),
        Input::Replied => {
            bench.receive(&fcf.reply(ElsKind::Flogi, 2, vn_port(1).fc_id, &[vn_port(1).mac]));
        }
        Input::LoginFailed => bench.enode.login_failed(bench.now),
        Input::Silence => {
            bench.wait(SECOND * 25);
        }
    }
}

#[test]
fn every_phase_meets_every_input_as_the_table_says() {
    for (input, cells) in TABLE {
        for (from, (phase, events)) in [DOWN, LAN, FCF, LINK].into_iter().zip(cells) {
            let mut bench = bench_in(from);
            apply(&mut bench, input);
            let kinds: Vec<_> = bench.events().iter().map(Kind::from).collect();
            assert_eq!((bench.enode.phase(), &kinds[..]), (phase, events), "{input:?} in {from:?}");
            assert_eq!(bench.enode.selected().is_some(), phase == LINK);
        }
    }
}

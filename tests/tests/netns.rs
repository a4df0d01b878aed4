//! The namespaces and the cable of the demo.

use control::link::LinkWatch;
use std::thread;
use std::time::{Duration, Instant};
use xfcoe::link::{self, Link};
use xfcoe::netns::{Cable, INITIATOR_INTERFACE, INITIATOR_MAC, MTU, Namespace, SAN_INTERFACE, SAN_MAC};
use xfcoe::preflight::{self, PortKind};

fn find(namespace: &Namespace, name: &str) -> Option<Link> {
    namespace.run(|| link::list().unwrap().into_iter().find(|link| link.name == name)).unwrap()
}

#[test]
fn the_cable_has_an_end_in_each_namespace_and_goes_with_one() {
    if !tests::have_root() {
        return;
    }
    let Cable { initiator, san } = Cable::lay().unwrap();
    let expected = |name: &str, mac| Link { name: name.into(), mac, mtu: MTU, up: true, xdp_program: None };
    assert_eq!(find(&initiator, INITIATOR_INTERFACE), Some(expected(INITIATOR_INTERFACE, INITIATOR_MAC)));
    assert_eq!(find(&san, SAN_INTERFACE), Some(expected(SAN_INTERFACE, SAN_MAC)));
    assert_eq!(find(&san, INITIATOR_INTERFACE), None);
    assert!(link::list().unwrap().iter().all(|link| link.name != INITIATOR_INTERFACE), "leaked");

    // The kernel takes a namespace apart in its own time, but soon.
    drop(initiator);
    let deadline = Instant::now() + Duration::from_secs(10);
    while find(&san, SAN_INTERFACE).is_some() {
        assert!(Instant::now() < deadline, "the dropped namespace still holds its end of the cable");
        thread::sleep(Duration::from_millis(20));
    }
}

/// Though nobody looked meanwhile: a switch may have forgotten its logins.
#[test]
fn a_link_that_went_and_came_is_told_as_both() {
    if !tests::have_root() {
        return;
    }
    tests::in_network_namespace(|| {
        tests::veth_pair("xfcoe0", "san0", 2500);
        let mut link = LinkWatch::open("xfcoe0").unwrap();
        let deadline = Instant::now() + Duration::from_secs(10);
        while link.change() != Some(true) {
            assert!(Instant::now() < deadline, "it never came up");
            thread::sleep(Duration::from_millis(1));
        }
        let set = |state| drop(tests::ip(&["link", "set", "san0", state]));
        set("down");
        set("up");
        // A carrier comes in the kernel's own time.
        let mut changes = Vec::new();
        let deadline = Instant::now() + Duration::from_secs(10);
        while changes.last() != Some(&true) {
            assert!(Instant::now() < deadline, "told: {changes:?}");
            thread::sleep(Duration::from_millis(500));
            changes.extend(std::iter::from_fn(|| link.change()));
        }
        assert_eq!(changes, [false, true]);
    });
}

#[test]
fn threads_started_inside_are_inside() {
    if !tests::have_root() {
        return;
    }
    let namespace = Namespace::new().unwrap();
    let links = namespace.run(|| thread::spawn(|| link::list().unwrap()).join().unwrap()).unwrap();
    assert_eq!(links.iter().map(|link| link.name.as_str()).collect::<Vec<_>>(), ["lo"]);
}

#[test]
fn the_preflight_looks_at_the_namespace_that_it_is_in() {
    if !tests::have_root() {
        return;
    }
    let cable = Cable::lay().unwrap();
    let check = |name| move || preflight::interface(name, PortKind::AfXdp).map_err(|error| error.to_string());
    assert_eq!(cable.initiator.run(check(INITIATOR_INTERFACE)).unwrap().unwrap().mac, INITIATOR_MAC);
    assert_eq!(
        cable.san.run(check(INITIATOR_INTERFACE)).unwrap().unwrap_err(),
        "there is no interface `xfcoe0` here; there are: lo, san0"
    );
}

//! A virtual machine that moves to another host, and its identity with it.

use super::*;

/// A host without virtual machines.
const EMPTY_HOST: &str =
    "[port.storage]\ninterface = \"eth0\"\nwwpn = \"20:00:02:fc:f0:00:02:02\"\n\n[control]\n";
const WWPN: &str = "20:00:02:fc:f0:00:02:11";

impl Model {
    /// Another host of the same SAN.
    fn other_host() -> Self {
        let folder = new_folder();
        let model = Self { daemon: start_daemon("host1", &folder, EMPTY_HOST), folder, san: None };
        model
            .wait_for("daemon", &["status"], |status| status["ports"][0]["vn_ports"][0]["state"] == "online");
        model
    }

    /// The machine comes here: its identity, and the socket of its disk.
    fn take_machine(&self) {
        self.ask(&["identity", "add", "vm1", "--wwpn", WWPN]);
        let (lun, socket) = (format!("{TARGET}/3"), format!("unix:{}/vm1.sock", self.folder.display()));
        self.ask(&["export", "add", "vm1", "--lun", &lun, "--nbd", &socket, "--identity", "vm1"]);
        self.wait_for_machine();
    }

    fn wait_for_machine(&self) {
        self.wait_for("disk of vm1", &["export", "list"], |answer| {
            let exports = answer["exports"].as_array().unwrap();
            let is_served = |export: &Value| export["state"] == "serving" && export["trouble"].is_null();
            exports.iter().any(|export| export["name"] == "vm1" && is_served(export))
        });
    }

    /// The machine goes.
    fn give_machine(&self) {
        self.ask(&["export", "remove", "vm1"]);
        self.ask(&["identity", "remove", "vm1"]);
    }

    /// The N_Port_ID that the machine has here.
    fn fc_id(&self) -> Value {
        let status = self.wait_for("identity", &["status"], |status| {
            let ports = status["ports"][0]["vn_ports"].as_array().unwrap();
            ports.iter().any(|port| port["identity"] == "vm1" && port["state"] == "online")
        });
        let ports = status["ports"][0]["vn_ports"].as_array().unwrap();
        ports.iter().find(|port| port["identity"] == "vm1").expect("just seen")["fc_id"].clone()
    }
}

#[test]
fn a_machine_moves_to_another_host_and_back_with_its_disk_and_nobody_else_notices() {
    with_model("fdisc", |here| {
        let there = Model::other_host();
        here.fill("vm1", 0x11, "1M");
        let (fc_id, before) = (here.fc_id(), here.ask(&["identity", "list"])["identities"][1].clone());
        here.give_machine();
        there.take_machine();
        let said = there.client("vm1", &["read -P 0x11 0 1M"]);
        assert!(said.contains("read") && !said.contains("fail"), "{said}");
        assert_eq!(there.fc_id(), fc_id, "the fabric knows it by its WWPN");
        there.fill("vm1", 0x22, "1M");
        here.fill("vm2", 0x33, "1M");
        here.check_written(&[("vm1", &[(0, 0x22)]), ("vm2", &[(0, 0x33)])]);

        there.give_machine();
        here.take_machine();
        let said = here.client("vm1", &["read -P 0x22 0 1M"]);
        assert!(said.contains("read") && !said.contains("fail"), "{said}");
        let list = here.ask(&["identity", "list"]);
        assert!(list["identities"].as_array().unwrap().contains(&before), "vm2 has stayed: {list:#}");
    });
}

/// The host that it was on is dead as far as anyone can see, and says nothing when the machine begins elsewhere.
#[test]
fn a_machine_of_a_dead_host_begins_elsewhere() {
    with_model("fdisc", |here| {
        let there = Model::other_host();
        here.fill("vm1", 0x11, "1M");
        let fc_id = here.fc_id();
        let pid = Pid::from_raw(here.daemon.id().try_into().unwrap());
        kill(pid, Signal::SIGKILL).unwrap();
        there.take_machine();
        assert_eq!(there.fc_id(), fc_id);
        let said = there.client("vm1", &["read -P 0x11 0 1M"]);
        assert!(said.contains("read") && !said.contains("fail"), "{said}");
        there.fill("vm1", 0x22, "2M");
        here.check_written(&[("vm1", &[(0, 0x22), (1, 0x22)])]);
    });
}

/// The host that it was on goes on, and so both claim its WWPN.
#[test]
fn two_hosts_with_one_machine_do_not_flood_the_fabric() {
    with_model("fdisc", |here| {
        let there = Model::other_host();
        let vm2 = here.ask(&["identity", "list"])["identities"][1].clone();
        let frames = || here.san.as_ref().unwrap().stats().unwrap().counters.received_frames;
        there.ask(&["identity", "add", "vm1", "--wwpn", WWPN]);
        let before = frames();
        sleep(Duration::from_secs(5));
        let since = frames() - before;
        assert!(since < 1000, "{since} frames in 5 s");
        let states = [here, &there].map(|host| host.ask(&["identity", "list"]).to_string());
        assert!(states.iter().any(|said| said.contains("same WWPN")), "{states:?}");
        let list = here.ask(&["identity", "list"]);
        assert_eq!(list["identities"][1], vm2, "vm2 has nothing to do with it");
        // One of them ends it.
        there.ask(&["identity", "remove", "vm1"]);
        here.wait_for_machine();
        here.fill("vm1", 0x11, "1M");
    });
}

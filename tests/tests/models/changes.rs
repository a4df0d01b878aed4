//! Identities that come and go while others are used.

use super::*;

/// The identities' names and states, and how many LUNs each sees.
fn list(model: &Model) -> Vec<(String, String, u64)> {
    let answer = model.ask(&["identity", "list"]);
    let of = |identity: &Value| {
        let text = |key: &str| identity[key].as_str().unwrap().to_owned();
        (text("name"), text("state"), identity["luns"].as_u64().unwrap())
    };
    answer["identities"].as_array().unwrap().iter().map(of).collect()
}

fn wait_for_state(model: &Model, export: &str, trouble: Option<&str>) {
    model.wait_for("such export", &["export", "list"], |answer| {
        let exports = answer["exports"].as_array().unwrap();
        let export = exports.iter().find(|other| other["name"] == export).expect("it is there");
        match trouble {
            Some(trouble) => export["trouble"].as_str().is_some_and(|said| said.contains(trouble)),
            None => export["state"] == "serving" && export["trouble"].is_null(),
        }
    });
}

#[test]
fn identities_come_and_go_by_order_and_by_file_and_the_others_do_not_notice() {
    with_model("fdisc", |model| {
        let before = model.ask(&["identity", "list"])["identities"][0].clone();
        let removed = model.ask(&["identity", "remove", "vm2"]);
        assert_eq!(removed["changes"][0], "identity vm2 on port storage: removed");
        wait_for_state(model, "vm2", Some("no path leads to its LUN"));
        model.fill("vm1", 0x11, "1M");
        assert_eq!(list(model), [("vm1".to_owned(), "online".to_owned(), 1)]);

        // It is another one now: with a login of its own.
        let add = [
            "identity",
            "add",
            "vm2",
            "--wwpn",
            "20:00:02:fc:f0:00:02:12",
            "--login",
            "flogi",
            "--mac",
            "02:fc:f0:00:02:22",
        ];
        assert_eq!(model.ask(&add)["changes"][0], "identity vm2 on port storage: added");
        wait_for_state(model, "vm2", None);
        model.fill("vm2", 0x22, "1M");
        model.check_written(&[("vm1", &[(0, 0x11)]), ("vm2", &[(0, 0x22)])]);

        // The file again, which has vm2 by FDISC, and one more.
        let file = model.folder.join("run.toml");
        let text = fs::read_to_string(&file).unwrap();
        let vms = "\n[[identity]]\nname = \"vms\"\nwwpn = \"20:00:02:fc:f0:00:02:10\"\n";
        fs::write(&file, text + vms).unwrap();
        let changes = model.ask(&["reload"])["changes"].clone();
        let expected = [
            "identity vm2 on port storage: removed",
            "identity vm2 on port storage: added",
            "identity vms on port storage: added",
        ];
        assert_eq!(changes, Value::from(expected.to_vec()));
        model.wait_for("identities", &["identity", "list"], |answer| {
            let online = answer["identities"]
                .as_array()
                .unwrap()
                .iter()
                .filter(|identity| identity["state"] == "online");
            let luns =
                |name: &str| online.clone().find(|identity| identity["name"] == name).map(|it| &it["luns"]);
            (luns("vm1"), luns("vm2"), luns("vms")) == (Some(&1.into()), Some(&1.into()), Some(&2.into()))
        });
        wait_for_state(model, "vm2", None);
        model.fill("vm2", 0x33, "1M");
        assert_eq!(model.ask(&["identity", "list"])["identities"][0], before, "vm1 has noticed nothing");
        let target = format!("{TARGET}/0");
        let read =
            Command::new(&*XFCOE).args(["read", &target, "-", "--identity", "vm1", "-i", "host0"]).output();
        assert_eq!(read.unwrap().status.code(), Some(2), "an interface alone has no identities");
    });
}

#[test]
fn what_can_not_be_is_refused() {
    with_model("fdisc", |model| {
        for (refused, said) in [
            (&["identity", "remove", "vm9"][..], "there is no identity `vm9`; there are: `vm1`, `vm2`"),
            (
                &["identity", "add", "vm3", "--wwpn", "20:00:02:fc:f0:00:02:12"],
                "identities `vm3` and `vm2` both have wwpn",
            ),
            (
                &["identity", "add", "vm3", "--wwpn", "20:00:02:fc:f0:00:02:01"],
                "has the wwpn of [port.storage]",
            ),
            (
                &["identity", "add", "vm1", "--wwpn", "20:00:02:fc:f0:00:02:13"],
                "there is an identity `vm1` on port `storage` already",
            ),
            (
                &["export", "add", "x", "--lun", "naa.6", "--nbd", "unix:/tmp/x", "--identity", "vm9"],
                "identity `vm9`, which there is not",
            ),
        ] {
            let output = model.order(refused);
            let stderr = String::from_utf8_lossy(&output.stderr);
            assert!(!output.status.success() && stderr.contains(said), "{refused:?}: {stderr}");
        }
        assert_eq!(list(model).len(), 2);
    });
}

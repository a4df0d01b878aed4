use super::*;
use crate::config::{Config, parse};

fn parsed(text: &str) -> Result<Config, String> {
    let text = format!("[port.a]\ninterface = \"eth0\"\n{text}");
    parse(Path::new("run.toml"), &text, Config::check).map_err(|error| error.to_string())
}

fn export(name: &str, rest: &str) -> String {
    format!("[[export]]\nname = \"{name}\"\n{}\n", rest.trim_end())
}

const ID: &str = "lun = \"naa.6001405\"\nnbd = \"unix:/run/a\"\n";

#[test]
fn exports_and_control_are_read() {
    let all = "lun = \"20:00:02:fc:f0:00:01:01/3\"\noffset = 4096\nlength = \"1GiB\"\nread_only = true\n\
               nbd = \"tcp:[::1]:10809\"\nowner = \"root\"\ngroup = \"disk\"";
    let config =
        parsed(&format!("[control]\ngroup = \"adm\"\n{}{}", export("a", ID), export("b", all))).unwrap();
    let control = config.control.unwrap();
    assert_eq!(control.path, Path::new(DEFAULT_CONTROL));
    assert_eq!(control.access(), Access { owner: None, group: Some("adm".into()) });
    let [a, b] = &config.export[..] else { panic!("two") };
    let (a, b) = (a.get_ref(), b.get_ref());
    assert_eq!((a.offset, a.length, a.read_only), (Amount::Bytes(0), None, false));
    assert_eq!(
        (&a.lun, &a.nbd),
        (&LunName::Identifier("naa.6001405".into()), &Some(Address::Unix("/run/a".into())))
    );
    assert_eq!((b.offset, b.length, b.read_only), (Amount::Bytes(4096), Some(Amount::Bytes(1 << 30)), true));
    assert_eq!(b.outlet().unwrap().to_string(), "tcp:[::1]:10809");
    assert_eq!(b.lun.to_string(), "20:00:02:fc:f0:00:01:01/3");
}

#[test]
fn an_order_is_what_the_file_says() {
    let text = export("a", &format!("{ID}offset = \"8blocks\""));
    let config = parsed(&text).unwrap().export.remove(0).into_inner();
    let json = serde_json::to_string(&config).unwrap();
    assert_eq!(serde_json::from_str::<ExportConfig>(&json).unwrap(), config, "{json}");
}

#[test]
fn what_can_not_be_is_refused_with_its_line() {
    let two = |one: &str, other: &str| {
        format!("{}{}", export("a", &format!("{ID}{one}")), export("b", &format!("{ID}{other}")))
    };
    for (text, said) in [
        (export("", ID), "run.toml:3: an export's name has 1 to 255 bytes and no control characters"),
        (export("a", &format!("{ID}length = 0")), "run.toml:3: export `a` has a length of 0"),
        (format!("{}{}", export("a", ID), export("a", ID)), "run.toml:7: there is an export `a` already"),
        (export("a", "nbd = \"unix:/a\""), "run.toml:3: the key `lun` is missing here"),
        (
            export("a", "lun = \"naa.6\""),
            "run.toml:3: export `a` is to have one of `nbd`, `vhost_user` and `ublk`",
        ),
        (
            export("a", &format!("{ID}vhost_user = \"/run/b\"")),
            "is to have one of `nbd`, `vhost_user` and `ublk`",
        ),
        (export("a", &format!("{ID}any_memory = true")), "any_memory is for vhost_user"),
        (
            export("a", &format!("lun = \"naa.6\"\nvhost_user = \"{}\"", "x".repeat(108))),
            "run.toml:3: a unix socket's path has",
        ),
        (
            format!("{}{}", export("a", ID), export("b", "lun = \"naa.7\"\nvhost_user = \"/run/a\"")),
            "run.toml:7: exports `b` and `a` can't both be at /run/a",
        ),
        (export("a", "nbd = \"/run/a\""), "run.toml:5: `/run/a` is no address: expected such as"),
        (export("a", "nbd = \"tcp:0.0.0.0:10809\""), "run.toml:5: 0.0.0.0:10809 is not a loopback address"),
        (export("a", "nbd = \"tcp:192.168.0.1:10809\""), "there is no TLS"),
        (export("a", &format!("nbd = \"unix:{}\"", "x".repeat(108))), "run.toml:5: a unix socket's path has"),
        (export("a", "lun = \"20:00/1\""), "run.toml:5: `20:00` is no target's port name"),
        (export("a", "offset = -1"), "run.toml:5: expected bytes such as 4096, \"64KiB\""),
        (export("a", "size = 1"), "run.toml:5: unknown key `size`"),
        (two("", ""), "run.toml:7: exports `b` and `a` overlap on LUN naa.6001405, and both may be written"),
        (two("length = \"8blocks\"", "offset = \"7blocks\""), "overlap"),
        (two("owner = \"a\"\nread_only = true", ""), "run.toml:9: export `b` shares unix:/run/a with `a`"),
    ] {
        let error = parsed(&text).unwrap_err();
        assert!(error.contains(said), "{text}: {error}");
    }
    for text in [
        two("read_only = true", ""),
        two("length = \"8blocks\"", "offset = \"8blocks\""),
        two("length = \"1MiB\"", "offset = \"1MiB\""),
        // Only the LUN can tell.
        two("length = \"1MiB\"", "offset = \"8blocks\""),
    ] {
        parsed(&text).unwrap();
    }
}

#[test]
fn a_block_device_has_a_number_and_no_socket() {
    const OTHER: &str = "lun = \"naa.6001406\"\nublk = 0\n";
    let ublk = |rest: &str| export("a", &format!("lun = \"naa.6001405\"\n{rest}"));
    if !ublk::IS_BUILT {
        let error = parsed(&ublk("ublk = 0")).unwrap_err();
        assert!(error.contains("run.toml:3: export `a`: this build has no ublk: build it by"), "{error}");
        return;
    }
    let config = parsed(&ublk("ublk = 7\nread_only = true")).unwrap();
    assert_eq!(config.export[0].get_ref().outlet().unwrap().to_string(), "/dev/ublkb7");
    for (text, said) in [
        (ublk("ublk = 0\nnbd = \"unix:/a\""), "is to have one of `nbd`, `vhost_user` and `ublk`"),
        (ublk("ublk = -1"), "run.toml:6: expected a whole number from 0 on"),
        (ublk("ublk = 1048576"), "run.toml:3: export `a`: ublk devices have numbers below 1048576"),
        (ublk("ublk = 0\nany_memory = true"), "any_memory is for vhost_user"),
        (ublk("ublk = 0\ngroup = \"disk\""), "who may open a block device is for udev to say"),
        (
            format!("{}{}", ublk("ublk = 0"), export("b", OTHER)),
            "exports `b` and `a` can't both be /dev/ublkb0",
        ),
    ] {
        let error = parsed(&text).unwrap_err();
        assert!(error.contains(said), "{text}: {error}");
    }
}

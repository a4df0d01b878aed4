//! Other people's clients, and a disk in memory.

use super::{Served, have, run};
use std::fs;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use tests::{memory_disk::MemoryDisk, noise};

const LEN: usize = 8 << 20;

fn serve(disk: &MemoryDisk) -> Served {
    Served::new(&[("disk", Arc::new(disk.clone()))])
}

#[test]
fn nbdinfo_shows_what_may_be_asked() {
    if !have(&["nbdinfo"]) {
        return;
    }
    let (small, large) = (MemoryDisk::new(LEN, 512), MemoryDisk::new(LEN, 4096).read_only());
    let served = Served::new(&[("small", Arc::new(small)), ("large", Arc::new(large))]);
    let list: serde_json::Value =
        serde_json::from_str(&run("nbdinfo", &["--json", "--list", &served.uri("")])).unwrap();
    assert_eq!((&list["protocol"], &list["structured"]), (&"newstyle-fixed".into(), &true.into()));
    let names: Vec<_> =
        list["exports"].as_array().unwrap().iter().map(|export| &export["export-name"]).collect();
    assert_eq!(names, ["small", "large"]);
    for (uri, block_len, read_only) in
        [(served.uri("small"), 512, false), (served.tcp_uri("large"), 4096, true)]
    {
        let info: serde_json::Value = serde_json::from_str(&run("nbdinfo", &["--json", &uri])).unwrap();
        let info = &info["exports"][0];
        assert_eq!(info["export-size"], LEN);
        assert_eq!(info["block_size_minimum"], block_len, "{info}");
        assert_eq!(
            (&info["block_size_preferred"], &info["block_size_maximum"]),
            (&4096.into(), &(32 << 20).into())
        );
        assert_eq!(info["is_read_only"], read_only);
        for can in ["can_multi_conn", "can_flush", "can_fua", "can_df"] {
            assert_eq!(info[can], true, "{can}");
        }
        for can in ["can_trim", "can_zero"] {
            assert_eq!(info[can], !read_only, "{can}");
        }
    }
}

#[test]
fn nbdcopy_copies_over_several_connections() {
    if !have(&["nbdcopy"]) {
        return;
    }
    let disk = MemoryDisk::new(LEN, 4096);
    let served = serve(&disk);
    let data = noise(LEN, 1);
    let (file, back) = (served.file("data", &data), served.file("back", &[]));
    run("nbdcopy", &["--flush", &file, &served.uri("disk")]);
    assert!(disk.bytes() == data, "other bytes arrived");
    run("nbdcopy", &[&served.tcp_uri("disk"), &back]);
    assert!(fs::read(&back).unwrap() == data, "other bytes came back");
    let flushes = served.exports[0].counters().flushes.load(Ordering::Relaxed);
    assert!(flushes > 0, "--flush flushes");
}

#[test]
fn qemu_img_converts_and_compares() {
    if !have(&["qemu-img"]) {
        return;
    }
    for block_len in [512, 4096] {
        let disk = MemoryDisk::new(LEN, block_len);
        let served = serve(&disk);
        // With a hole, which is written as zeroes.
        let mut data = noise(LEN, 2);
        data[LEN / 4..LEN / 2].fill(0);
        let (file, uri) = (served.file("data", &data), served.uri("disk"));
        let info = run("qemu-img", &["info", "-f", "raw", &uri]);
        assert!(info.contains(&format!("virtual size: 8 MiB ({LEN} bytes)")), "{info}");
        run("qemu-img", &["convert", "-n", "-W", "-f", "raw", "-O", "raw", &file, &uri]);
        assert!(disk.bytes() == data, "other bytes arrived");
        run("qemu-img", &["compare", "-f", "raw", "-F", "raw", &file, &served.tcp_uri("disk")]);
        let back = served.file("back.qcow2", &[]);
        run("qemu-img", &["convert", "-f", "raw", "-O", "qcow2", &uri, &back]);
        run("qemu-img", &["compare", "-f", "raw", "-F", "qcow2", &file, &back]);
    }
}

#[test]
fn qemu_io_does_each_command() {
    if !have(&["qemu-io"]) {
        return;
    }
    let disk = MemoryDisk::new(LEN, 512);
    let served = serve(&disk);
    let out = run(
        "qemu-io",
        &[
            "-f",
            "raw",
            "-d",
            "unmap",
            "-c",
            "write -P 0xab 0 1M",
            "-c",
            "write -f -P 0xcd 64k 64k",
            "-c",
            "write -z 4k 8k",
            "-c",
            "discard 16k 4k",
            "-c",
            "write -P 0x11 515 5",
            "-c",
            "aio_write -P 0x22 2M 1M",
            "-c",
            "aio_read -P 0xab 256k 128k",
            "-c",
            "aio_flush",
            "-c",
            "flush",
            "-c",
            "read -P 0xab 128k 896k",
            "-c",
            "read -P 0xcd 64k 64k",
            "-c",
            "read -P 0 4k 8k",
            "-c",
            "read -P 0x22 2M 1M",
            &served.uri("disk"),
        ],
    );
    assert!(!out.contains("Pattern verification failed") && !out.contains("failed:"), "{out}");
    let counters = served.exports[0].counters();
    assert_eq!(counters.trims.load(Ordering::Relaxed), 1, "{out}");
    assert!(counters.flushes.load(Ordering::Relaxed) > 0 && counters.refused.load(Ordering::Relaxed) == 0);
    let bytes = disk.bytes();
    assert!(bytes[16 << 10..20 << 10].iter().all(|&byte| byte == 0), "discarded");
    assert_eq!(bytes[514..521], [0xab, 0x11, 0x11, 0x11, 0x11, 0x11, 0xab]);

    disk.set_fails(true);
    // As README has it.
    let path = served.socket();
    let options = format!(
        "driver=nbd,server.type=unix,server.path={},export=disk,reconnect-delay=30,discard=unmap",
        path.display()
    );
    let output = std::process::Command::new("qemu-io")
        .args(["--image-opts", "-c", "read 0 4k", &options])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(said.contains("Input/output error"), "{said}");
}

#[test]
fn fio_verifies() {
    if !have(&["fio"]) {
        return;
    }
    let disk = MemoryDisk::new(LEN, 512);
    fio_verify(&serve(&disk).uri("disk"), "8M");
}

/// Writes at random, several sizes at once, and reads it all back.
pub(crate) fn fio_verify(uri: &str, size: &str) {
    run(
        "fio",
        &[
            // It would leave a file where it runs.
            "--verify_state_save=0",
            "--name=verify",
            "--ioengine=nbd",
            &format!("--uri={uri}"),
            "--rw=randwrite",
            "--bsrange=512-64k",
            "--iodepth=16",
            &format!("--size={size}"),
            "--verify=crc32c",
            "--verify_fatal=1",
            // A file in the current folder.
            "--verify_state_save=0",
            "--output-format=terse",
        ],
    );
}

//! A disk of the SAN in a box by NBD: real rings on a veth pair, and under it a file system.

use super::clients::fio_verify;
use super::{Served, have, run};
use initiator::{Config, Disk, Initiator};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use san::{Death, Order, SanConfig};
use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::{self, sleep};
use std::time::{Duration, Instant};
use tests::{LOGIN, have_root, in_network_namespace, noise, only_disk, start_san, veth_pair};
use xfcoe::exports::DiskDevice;
use xfcoe::san_thread::SanThread;

/// The part of the disk that is handed out, in blocks.
const START: u64 = 1000;
const BLOCKS: u64 = 128 << 11;

/// A test with a part of a disk, served as `disk`.
fn with_disk(test: impl Fn(&Served, &Disk, &SanThread) + Send + Sync) {
    in_network_namespace(|| {
        // Clients by TCP are not needed, but its listener is.
        tests::ip(&["link", "set", "lo", "up"]);
        veth_pair("xfcoe0", "san0", 2500);
        let san = start_san("san0", SanConfig::default());
        let initiator = Initiator::start(Config::new("xfcoe0")).unwrap();
        let disk = only_disk(&initiator);
        let device = DiskDevice::new(disk.clone(), START..START + BLOCKS, false);
        let served = Served::new(&[("disk", Arc::new(device))]);
        test(&served, &disk, &san);
        drop(served);
        initiator.stop();
        san.stop().unwrap();
    });
}

#[test]
fn an_image_is_written_and_read_back() {
    if !have_root() || !have(&["qemu-img", "fio"]) {
        return;
    }
    with_disk(|served, disk, _| {
        let uri = served.uri("disk");
        fio_verify(&uri, "16M");
        let data = noise((BLOCKS * 512) as usize / 4, 3);
        let mut image = data.clone();
        image.resize((BLOCKS * 512) as usize, 0);
        let file = served.file("image", &image);
        run("qemu-img", &["convert", "-n", "-W", "-f", "raw", "-O", "raw", &file, &uri]);
        run("qemu-img", &["compare", "-f", "raw", "-F", "raw", &file, &uri]);
        let mut written = vec![0; data.len()];
        disk.read_at(START, &mut written).unwrap();
        assert!(written == data, "other bytes are on the disk");
        let mut beside = vec![1; 512];
        disk.read_at(START - 1, &mut beside).unwrap();
        assert!(beside.iter().all(|&byte| byte == 0), "a block before the range is written");
    });
}

#[test]
fn clients_notice_no_outage() {
    if !have_root() || !have(&["fio"]) {
        return;
    }
    with_disk(|served, _, san| {
        let uri = format!("--uri={}", served.uri("disk"));
        let target = SanConfig::default().targets[0].wwpn;
        thread::scope(|scope| {
            let arguments = [
                "--name=outage",
                "--ioengine=nbd",
                &uri,
                "--rw=randwrite",
                "--bsrange=4k-32k",
                "--iodepth=16",
                "--size=16M",
                "--time_based",
                "--runtime=5",
                "--verify=crc32c",
                "--verify_backlog=256",
                "--verify_fatal=1",
                "--verify_state_save=0",
            ];
            let fio = scope.spawn(move || run("fio", &arguments));
            sleep(Duration::from_secs(1));
            san.order(Order::Kill { target, how: Death::Unplugged }).unwrap();
            sleep(Duration::from_millis(300));
            san.order(Order::Revive { target }).unwrap();
            sleep(Duration::from_millis(700));
            // It is back after two seconds and some.
            san.order(Order::Restart).unwrap();
            fio.join().unwrap();
        });
        let counters = served.exports[0].counters();
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        assert_eq!((count(&counters.failed), count(&counters.refused)), (0, 0));
        assert!(count(&counters.writes) > 100 && count(&counters.reads) > 100, "{counters:?}");
    });
}

#[test]
fn a_file_system_lives_on_it() {
    if !have_root() || !have(&["nbdfuse", "fusermount3", "losetup", "mkfs.ext4", "e2fsck"]) {
        return;
    }
    if !Path::new("/dev/fuse").exists() || !Path::new("/dev/loop-control").exists() {
        return tests::skip("the kernel has no FUSE or no loop devices");
    }
    with_disk(|served, _, _| {
        // Mounts that nobody else sees, and that go with this thread.
        unshare(CloneFlags::CLONE_NEWNS).unwrap();
        mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>).unwrap();
        let folder = |name| {
            let folder = served.folder.join(name);
            fs::create_dir(&folder).unwrap();
            folder
        };
        let (fuse, files) = (folder("fuse"), folder("files"));
        let image = fuse.join("disk");
        let mut nbdfuse = Command::new("nbdfuse").arg(&image).arg(served.uri("disk")).spawn().unwrap();
        let begin = Instant::now();
        while !image.exists() {
            assert!(begin.elapsed() < LOGIN, "nbdfuse shows no file");
            sleep(Duration::from_millis(5));
        }
        let device = run("losetup", &["--find", "--show", image.to_str().unwrap()]);
        let device = device.trim();
        run("mkfs.ext4", &["-q", device]);
        let data = noise(4 << 20, 4);
        for round in 0..2 {
            run("mount", &["-t", "ext4", device, files.to_str().unwrap()]);
            let file = files.join("data");
            if round == 0 {
                fs::write(&file, &data).unwrap();
            } else {
                assert!(fs::read(&file).unwrap() == data, "the file has other bytes");
            }
            run("umount", &[files.to_str().unwrap()]);
        }
        run("e2fsck", &["-fn", device]);
        run("losetup", &["--detach", device]);
        run("fusermount3", &["-u", fuse.to_str().unwrap()]);
        assert!(nbdfuse.wait().unwrap().success());
    });
}

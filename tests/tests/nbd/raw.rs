//! A client that does what others don't.

use super::Served;
use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::sleep;
use std::time::{Duration, Instant};
use tests::memory_disk::MemoryDisk;

const LEN: usize = 1 << 20;
const READ: u16 = 0;
const WRITE: u16 = 1;
const EIO: u32 = 5;
const EINVAL: u32 = 22;

/// A connection to the only export, with simple replies.
struct Client(UnixStream);

impl Client {
    fn connect(served: &Served) -> Self {
        let mut stream = UnixStream::connect(served.socket()).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        stream.read_exact(&mut [0; 18]).unwrap();
        stream.write_all(b"\0\0\0\x03IHAVEOPT\0\0\0\x01\0\0\0\0").unwrap();
        stream.read_exact(&mut [0; 10]).unwrap();
        Self(stream)
    }

    fn request(&mut self, command: u16, cookie: u64, offset: u64, len: u32) {
        let bytes = [
            &[0x25, 0x60, 0x95, 0x13, 0, 0][..],
            &command.to_be_bytes(),
            &cookie.to_be_bytes(),
            &offset.to_be_bytes(),
            &len.to_be_bytes(),
        ]
        .concat();
        self.0.write_all(&bytes).unwrap();
    }

    /// The cookie and the error of the next reply.
    fn reply(&mut self) -> (u64, u32) {
        let mut reply = [0; 16];
        self.0.read_exact(&mut reply).unwrap();
        assert_eq!(reply[..4], [0x67, 0x44, 0x66, 0x98]);
        (
            u64::from_be_bytes(reply[8..].try_into().unwrap()),
            u32::from_be_bytes(reply[4..8].try_into().unwrap()),
        )
    }

    fn is_closed(&mut self) -> bool {
        match self.0.read(&mut [0; 4096]) {
            Ok(len) => len == 0,
            Err(error) => error.kind() == ErrorKind::ConnectionReset,
        }
    }
}

fn until(what: &str, done: impl Fn() -> bool) {
    let begin = Instant::now();
    while !done() {
        assert!(begin.elapsed() < Duration::from_secs(20), "{what}");
        sleep(Duration::from_millis(1));
    }
}

fn serve(disk: &MemoryDisk) -> Served {
    Served::new(&[("disk", Arc::new(disk.clone()))])
}

#[test]
fn an_unaligned_request_is_refused_and_the_next_one_isnt() {
    let disk = MemoryDisk::new(LEN, 4096);
    let served = serve(&disk);
    let mut client = Client::connect(&served);
    client.request(READ, 1, 512, 4096);
    client.request(WRITE, 2, 0, 512);
    client.0.write_all(&[1; 512]).unwrap();
    assert_eq!([client.reply(), client.reply()], [(1, EINVAL), (2, EINVAL)]);
    client.request(WRITE, 3, 4096, 4096);
    client.0.write_all(&[2; 4096]).unwrap();
    assert_eq!(client.reply(), (3, 0));
    assert_eq!(disk.bytes()[4095..4097], [0, 2]);
    disk.set_fails(true);
    client.request(READ, 4, 0, 4096);
    assert_eq!(client.reply(), (4, EIO));
}

#[test]
fn garbage_ends_its_own_connection() {
    let disk = MemoryDisk::new(LEN, 512);
    let served = serve(&disk);
    let mut other = Client::connect(&served);
    let mut client = Client::connect(&served);
    client.0.write_all(&[0xee; 4096]).unwrap();
    assert!(client.is_closed());
    let mut stream = UnixStream::connect(served.socket()).unwrap();
    stream.write_all(&[0xee; 4096]).unwrap();
    stream.read_exact(&mut [0; 18]).unwrap();
    assert!(Client(stream).is_closed());
    other.request(READ, 1, 0, 512);
    assert_eq!(other.reply(), (1, 0));
}

#[test]
fn what_a_client_leaves_is_done_before_it_comes_again() {
    let disk = MemoryDisk::new(LEN, 512);
    let served = serve(&disk);
    let export = &served.exports[0];
    disk.set_stalled(true);
    let mut client = Client::connect(&served);
    client.request(WRITE, 1, 0, 512);
    client.0.write_all(&[1; 512]).unwrap();
    until("the write is out", || disk.outstanding() == 1);
    drop(client);
    until("the client is known to be gone", || export.clients() == 0);

    // It can choose the export, and waits then.
    let mut again = Client::connect(&served);
    again.request(WRITE, 2, 0, 512);
    again.0.write_all(&[2; 512]).unwrap();
    sleep(Duration::from_millis(50));
    assert_eq!((disk.outstanding(), export.clients()), (1, 0), "its write overtakes the old one");
    disk.set_stalled(false);
    assert_eq!(again.reply(), (2, 0));
    assert_eq!(disk.bytes()[0], 2);
    assert_eq!(export.clients(), 1);
}

#[test]
fn a_flood_costs_bounded_memory_and_a_client_that_reads_nothing_can_be_ended() {
    let disk = MemoryDisk::new(LEN, 512);
    let served = serve(&disk);
    let mut client = Client::connect(&served);
    client.0.set_write_timeout(Some(Duration::from_millis(300))).unwrap();
    // Never reads a reply.
    let one = [&[0x25, 0x60, 0x95, 0x13][..], &[0; 20], &(LEN as u32).to_be_bytes()].concat();
    let all = one.repeat(100_000);
    assert!(client.0.write_all(&all).is_err(), "all of it was read");
    let reads = served.exports[0].counters().reads.load(Ordering::Relaxed);
    assert!(reads <= 34, "{reads} MiB are held for one client");

    served.exports[0].close();
    assert!(
        served.exports[0].wait_for_end(Duration::from_secs(10)),
        "a connection that can't write never ends"
    );
    let mut late = UnixStream::connect(served.socket()).unwrap();
    late.write_all(b"\0\0\0\x03IHAVEOPT\0\0\0\x01\0\0\0\0").unwrap();
    late.read_exact(&mut [0; 28]).unwrap();
    assert!(Client(late).is_closed(), "an export that is closed lets nobody in");
}

#[test]
fn a_client_that_goes_while_it_is_not_read_from_costs_nothing() {
    let disk = MemoryDisk::new(LEN, 512);
    let served = serve(&disk);
    disk.set_stalled(true);
    let mut client = Client::connect(&served);
    let one = [&[0x25, 0x60, 0x95, 0x13][..], &[0; 20], &512u32.to_be_bytes()].concat();
    client.0.set_write_timeout(Some(Duration::from_millis(100))).unwrap();
    assert!(client.0.write_all(&one.repeat(100_000)).is_err());
    drop(client);
    until("the client is known to be gone", || served.exports[0].clients() == 0);
    disk.set_stalled(false);
    until("what is out ends", || disk.outstanding() == 0);
}

//! The LUN of an export: which part of it, and whether it is still what it was.

use crate::cli::{Amount, LunName};
use crate::config::ExportConfig;
use crate::session::describe;
use indicatif::BinaryBytes;
use initiator::{Disk, DiskInfo, Path};
use std::fmt;
use std::ops::Range;

/// The longest block that clients and page caches know.
const MAX_BLOCK_LEN: u32 = 64 << 10;

/// A LUN, as it was when the export began, and the blocks of it that are handed out.
#[derive(Debug)]
pub(super) struct Lun {
    name: LunName,
    then: Seen,
    blocks: Range<u64>,
    /// Whether the export has all that there is.
    whole: bool,
    writable: bool,
}

/// What is seen of a LUN at one moment.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    /// The identity that sees it.
    identity: Option<String>,
    info: DiskInfo,
    paths: Vec<Path>,
    /// For people.
    words: String,
}

/// What has become of a LUN.
#[derive(PartialEq, Eq, Debug)]
pub(super) enum Verdict {
    Good,
    /// It can be used on, as far as it goes.
    Trouble(String),
    /// It is another one.
    Other(String),
}

impl Seen {
    pub(super) fn new(disk: &Disk) -> Self {
        let identity = disk.identity().map(String::from);
        Self { identity, info: disk.info().clone(), paths: disk.paths(), words: describe(disk) }
    }

    pub(super) fn is_meant_by(&self, config: &ExportConfig) -> bool {
        self.is_at(&config.lun, config.identity.as_deref())
    }

    fn is_at(&self, name: &LunName, identity: Option<&str>) -> bool {
        self.identity.as_deref() == identity && name.means(&self.info, &self.paths)
    }

    /// Whether both are of the same LUN, whoever sees it: the same name, or the same place if it has none.
    fn is_same(&self, other: &Self) -> bool {
        match (&self.info.id, &other.info.id) {
            (Some(one), Some(other)) => one == other,
            (None, None) => {
                let place = |path: &Path| (path.target, path.id.lun);
                self.paths.iter().any(|one| other.paths.iter().any(|other| place(one) == place(other)))
            }
            _ => false,
        }
    }
}

impl Lun {
    /// The part of a disk that an export is to have.
    pub(super) fn new(config: &ExportConfig, seen: &Seen) -> Result<Self, String> {
        let (info, words) = (&seen.info, &seen.words);
        let block_len = info.block_len;
        if !block_len.is_power_of_two() || block_len > MAX_BLOCK_LEN {
            return Err(format!("LUN {words} has blocks of {block_len} bytes, which clients can't have"));
        }
        let blocks = |what: &str, amount: Amount| {
            let bytes = amount.to_bytes(block_len).unwrap_or(u64::MAX);
            if bytes.is_multiple_of(block_len.into()) {
                Ok(bytes / u64::from(block_len))
            } else {
                Err(format!("its {what} of {bytes} bytes is no whole number of blocks of {block_len} bytes"))
            }
        };
        let start = blocks("offset", config.offset)?;
        let end = match config.length {
            Some(length) => start.saturating_add(blocks("length", length)?),
            None => info.blocks,
        };
        if end > info.blocks || start >= end {
            return Err(format!("blocks {start} to {end} are not on LUN {words}, which has {}", info.blocks));
        }
        Ok(Self {
            name: config.lun.clone(),
            then: seen.clone(),
            blocks: start..end,
            whole: config.length.is_none(),
            writable: !config.read_only && !info.write_protected,
        })
    }

    pub(super) fn range(&self) -> Range<u64> {
        self.blocks.clone()
    }

    /// What it is called whenever there is a daemon, and whoever names it.
    pub(super) fn lasting_name(&self) -> String {
        let Seen { identity, info, paths, .. } = &self.then;
        let Range { start, end } = self.blocks;
        let disk = match (&info.id, paths.first()) {
            (Some(id), _) => id.clone(),
            (None, Some(path)) => format!("{}/{} for {identity:?}", path.target, path.id.lun),
            (None, None) => self.name.to_string(),
        };
        format!("{disk}, blocks {start} to {end}")
    }

    /// Whether both could write the same block.
    pub(super) fn collides(&self, other: &Self) -> bool {
        let overlap = self.blocks.start < other.blocks.end && other.blocks.start < self.blocks.end;
        self.then.is_same(&other.then) && overlap && self.writable && other.writable
    }

    /// What has become of it, by all that is seen now.
    pub(super) fn judge(&self, all: &[Seen]) -> Verdict {
        let then = &self.then.info;
        let Some(Seen { info: now, paths, .. }) =
            all.iter().find(|seen| seen.identity == self.then.identity && seen.is_same(&self.then))
        else {
            let gone = "no path leads to its LUN any more: requests wait for a while, and fail then";
            return Verdict::Trouble(
                match all.iter().find(|seen| seen.is_at(&self.name, self.then.identity.as_deref())) {
                    Some(other) => format!("{gone}. At {} is another LUN now, {}", self.name, other.words),
                    None => gone.into(),
                },
            );
        };
        let kind = |info: &DiskInfo| {
            (info.block_len, info.vendor.clone(), info.product.clone(), info.serial.clone())
        };
        if kind(now) != kind(then) {
            return Verdict::Other(
                "closed, as its LUN is another one now: remove the export and add it again, if that is meant"
                    .into(),
            );
        }
        let (was, is) = (then.blocks, now.blocks);
        if is < self.blocks.end {
            Verdict::Trouble(format!("its LUN has shrunk from {was} to {is} blocks: requests beyond fail"))
        } else if !paths.iter().any(|path| path.is_ready) {
            Verdict::Trouble("its target is away: requests wait for a while, and fail then".into())
        } else if self.whole && is > was {
            Verdict::Trouble(format!(
                "its LUN has grown from {was} to {is} blocks: remove the export and add it again to hand all of it out"
            ))
        } else {
            Verdict::Good
        }
    }
}

impl fmt::Display for Lun {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = (self.blocks.end - self.blocks.start) * u64::from(self.then.info.block_len);
        let read_only = if self.writable { "" } else { ", read-only" };
        write!(f, "{} of LUN {}{read_only}", BinaryBytes(bytes), self.then.words)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Address;
    use fc::messages::NexusId;
    use fc::wire::Wwn;
    use fc::wire::scsi::target_port_groups::AccessState;
    use initiator::{PathId, PortNumber};
    use std::time::Duration;

    /// A LUN with the name `naa.1` by one path.
    fn seen(blocks: u64) -> Seen {
        let info = DiskInfo {
            id: Some("naa.1".into()),
            vendor: String::new(),
            product: String::new(),
            serial: None,
            blocks,
            block_len: 512,
            max_transfer_len: 1 << 20,
            discard: true,
            write_protected: false,
        };
        Seen { identity: None, info, paths: vec![path(1)], words: "LUN".into() }
    }

    fn path(target: u64) -> Path {
        let lun = fc::wire::fcp::Lun::single(1).unwrap();
        Path {
            id: PathId { port: PortNumber(0), nexus: NexusId(0), lun },
            target: Wwn::from_u64(target),
            is_ready: true,
            logins: 1,
            access: AccessState::OPTIMIZED,
            fast_io_fail: Duration::ZERO,
        }
    }

    fn config(offset: &str, length: Option<&str>) -> ExportConfig {
        ExportConfig {
            name: "a".into(),
            lun: "naa.1".parse().unwrap(),
            identity: None,
            offset: offset.parse().unwrap(),
            length: length.map(|length| length.parse().unwrap()),
            read_only: false,
            nbd: Some(Address::Unix("/a".into())),
            vhost_user: None,
            ublk: None,
            any_memory: false,
            owner: None,
            group: None,
        }
    }

    #[test]
    fn a_part_is_whole_blocks_inside_the_lun() {
        let range = |offset, length| Lun::new(&config(offset, length), &seen(100)).map(|lun| lun.range());
        assert_eq!(range("0", None), Ok(0..100));
        assert_eq!(range("1024", Some("4blocks")), Ok(2..6));
        assert_eq!(range("99blocks", Some("512")), Ok(99..100));
        for (offset, length, said) in [
            ("100", None, "its offset of 100 bytes is no whole number of blocks"),
            ("0", Some("1000"), "its length of 1000 bytes is no whole number of blocks"),
            ("99blocks", Some("2blocks"), "blocks 99 to 101 are not on LUN"),
            ("100blocks", None, "blocks 100 to 100 are not on LUN"),
            ("18446744073709551615blocks", None, "no whole number"),
        ] {
            let error = range(offset, length).unwrap_err();
            assert!(error.contains(said), "{error}");
        }
        let mut odd = seen(100);
        odd.info.block_len = 520;
        assert!(Lun::new(&config("0", None), &odd).unwrap_err().contains("blocks of 520 bytes"));
    }

    #[test]
    fn two_may_not_write_the_same_block_by_whatever_path() {
        let lun = |offset, length, seen: &Seen| Lun::new(&config(offset, length), seen).unwrap();
        let one = lun("0", Some("10blocks"), &seen(100));
        assert!(one.collides(&lun("9blocks", None, &seen(100))));
        assert!(!one.collides(&lun("10blocks", None, &seen(100))));
        assert!(
            one.collides(&lun("0", None, &Seen { paths: vec![path(2)], ..seen(100) })),
            "by another path"
        );
        let by_other = Seen { identity: Some("vm1".into()), ..seen(100) };
        assert!(one.collides(&lun("0", None, &by_other)), "by another identity");
        assert!(matches!(one.judge(&[by_other]), Verdict::Trouble(_)), "what that sees is not ours");
        let mut other = seen(100);
        other.info.id = Some("naa.2".into());
        assert!(!one.collides(&lun("0", None, &other)));
        let mut protected = seen(100);
        protected.info.write_protected = true;
        assert!(!one.collides(&lun("0", None, &protected)));
    }

    #[test]
    fn what_becomes_of_a_lun_is_said() {
        let judge = |then: &Seen, now: &[Seen]| match Lun::new(&config("0", None), then).unwrap().judge(now) {
            Verdict::Good => "good".to_owned(),
            Verdict::Trouble(said) => said,
            Verdict::Other(said) => format!("other: {said}"),
        };
        let then = seen(100);
        assert_eq!(judge(&then, &[seen(100)]), "good");
        assert_eq!(judge(&then, &[Seen { paths: vec![path(7)], ..seen(100) }]), "good");
        let shrunk = "its LUN has shrunk from 100 to 99 blocks: requests beyond fail";
        assert_eq!(judge(&then, &[seen(99)]), shrunk);
        assert!(judge(&then, &[seen(200)]).starts_with("its LUN has grown from 100 to 200 blocks"));
        let away = Seen { paths: vec![Path { is_ready: false, ..path(1) }], ..seen(100) };
        assert!(judge(&then, &[away]).starts_with("its target is away"));
        let gone = "no path leads to its LUN any more: requests wait for a while, and fail then";
        assert_eq!(judge(&then, &[]), gone);
        let mut longer = seen(100);
        longer.info.block_len = 4096;
        assert!(judge(&then, &[longer]).starts_with("other: closed"));

        let nameless = |serial: &str| {
            let mut seen = seen(100);
            (seen.info.id, seen.info.serial) = (None, Some(serial.into()));
            seen
        };
        assert_eq!(judge(&nameless("1"), &[seen(100), nameless("1")]), "good");
        assert!(judge(&nameless("1"), &[nameless("2")]).starts_with("other: closed"));
        assert!(judge(&nameless("1"), &[Seen { paths: vec![path(2)], ..nameless("1") }]).starts_with(gone));
    }

    #[test]
    fn another_lun_at_its_place_is_said() {
        let by_path = ExportConfig { lun: "00:00:00:00:00:00:00:01/1".parse().unwrap(), ..config("0", None) };
        let lun = Lun::new(&by_path, &seen(100)).unwrap();
        let mut other = Seen { words: "the other".into(), ..seen(100) };
        other.info.id = Some("naa.2".into());
        let Verdict::Trouble(said) = lun.judge(&[other]) else { panic!("it stays with its own") };
        assert!(said.ends_with("At 00:00:00:00:00:00:00:01/1 is another LUN now, the other"), "{said}");
    }
}

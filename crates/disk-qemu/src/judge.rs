//! Whether a bitmap may be believed (invariant I6). Pure.

use tresor_disk::BitmapJudgement;
use tresor_model::{HypervisorProcess, SnapshotTag, TrackingLedger};
use tresor_qmp::commands::bitmap::BitmapInfo;

/// Bytes per bit of our bitmaps: the grain of the vault's chunks.
pub(crate) const GRANULARITY: u32 = 64 << 10;

/// A disk as it is now.
#[derive(Debug, Clone, Copy)]
pub(crate) struct DiskNow<'a> {
    /// The bitmaps on the node of its format.
    pub(crate) bitmaps: &'a [BitmapInfo],
    /// Virtual size in bytes.
    pub(crate) size: u64,
    /// Identity of the image.
    pub(crate) image: &'a str,
    /// Identities of what the image rests on.
    pub(crate) chain: &'a [String],
    /// The process that has the disk open, where it is known.
    pub(crate) process: Option<&'a HypervisorProcess>,
}

/// Trusts the ledger's bitmap only while every sign agrees. For a disk that grew it is trusted for
/// the bytes that there were: QEMU keeps its bits, and has none for the new ones ([`tracked`]).
pub(crate) fn decide(ledger: Option<&TrackingLedger>, disk: DiskNow<'_>) -> BitmapJudgement {
    match signs(ledger, disk) {
        Ok(bitmap) => BitmapJudgement::Trusted { bitmap },
        Err(reason) => BitmapJudgement::ReadAll { reason },
    }
}

/// How many bytes of a disk of `size` bytes a trusted bitmap speaks for. What lies behind them
/// counts as changed.
pub(crate) fn tracked(ledger: Option<&TrackingLedger>, size: u64) -> u64 {
    let grain = u64::from(GRANULARITY);
    match ledger.map(|ledger| ledger.size) {
        // The last grain of the smaller disk went on behind its end.
        Some(before) if before < size => before - before % grain,
        _ => size,
    }
}

/// Names of the bitmaps that are not ours. They are left alone.
fn foreign(bitmaps: &[BitmapInfo]) -> Vec<&str> {
    let names = bitmaps.iter().filter_map(|bitmap| bitmap.name.as_deref());
    names.filter(|name| is_foreign(name)).collect()
}

/// Whether a bitmap of this name is another tool's.
pub(crate) fn is_foreign(bitmap: &str) -> bool {
    SnapshotTag::of_name(bitmap).is_none()
}

fn signs(ledger: Option<&TrackingLedger>, disk: DiskNow<'_>) -> Result<String, String> {
    let ledger = ledger.ok_or("there is no earlier recovery point of this disk")?;
    let name = ledger
        .bitmap
        .as_deref()
        .ok_or("no bitmap was kept with the last recovery point")?;
    if SnapshotTag::of_name(name).as_ref() != Some(&ledger.tag) {
        return Err(format!(
            "the bitmap {name} was not made by the snapshot of the last recovery point"
        ));
    }
    check_image(ledger, disk)?;
    if disk.size < ledger.size {
        return Err(format!(
            "the disk was shrunk from {} to {} bytes",
            ledger.size, disk.size
        ));
    }
    check_process(ledger, disk)?;
    let mut found = disk
        .bitmaps
        .iter()
        .filter(|bitmap| bitmap.name.as_deref() == Some(name));
    let bitmap = found.next().ok_or_else(|| lost(name, ledger, disk))?;
    if found.next().is_some() {
        return Err(format!("there are two bitmaps {name}"));
    }
    check_state(bitmap, ledger).map_err(|reason| format!("the bitmap {name} {reason}"))?;
    Ok(name.to_owned())
}

/// The same image on the same chain? What happened to it is told by where the two meet.
fn check_image(ledger: &TrackingLedger, disk: DiskNow<'_>) -> Result<(), String> {
    let before = ledger.signs.chain.as_deref();
    let (was, is) = (&ledger.image, disk.image);
    if was == is {
        return match before {
            Some(chain) if chain != disk.chain => Err(format!(
                "what the image rests on is another: it was {}, it is {}",
                shown(chain),
                shown(disk.chain)
            )),
            _ => Ok(()),
        };
    }
    if disk.chain.contains(was) {
        return Err(format!(
            "an external snapshot was taken: the image {was} lies below {is} now"
        ));
    }
    if before.is_some_and(|chain| chain.iter().any(|below| below == is)) {
        return Err(format!(
            "an external snapshot was committed or reverted: the image is {is} again, which lay \
             below {was}"
        ));
    }
    Err(format!("the image was replaced: it was {was}, it is {is}"))
}

fn shown(chain: &[String]) -> String {
    match chain {
        [] => "nothing".to_owned(),
        chain => chain.join(", "),
    }
}

/// A bitmap that is not kept in the image lives and dies with its process.
fn check_process(ledger: &TrackingLedger, disk: DiskNow<'_>) -> Result<(), String> {
    match (&ledger.signs.process, disk.process) {
        (Some(was), Some(is)) if !ledger.persistent && was != is => Err(
            "QEMU was started again, and this image format keeps no bitmap over a restart"
                .to_owned(),
        ),
        _ => Ok(()),
    }
}

/// Why a bitmap is not there, told by what became of the others.
fn lost(name: &str, ledger: &TrackingLedger, disk: DiskNow<'_>) -> String {
    if !ledger.persistent {
        return format!("the bitmap {name} is gone: this image format keeps none over a restart");
    }
    let had = ledger.signs.bitmaps.iter().flatten();
    let had: Vec<_> = had.filter(|other| is_foreign(other)).collect();
    let has = foreign(disk.bitmaps);
    let because = match had.iter().any(|other| has.contains(&other.as_str())) {
        true => "another tool's is still there: somebody removed it",
        false if had.is_empty() => {
            "it was removed, or the image was made anew or reverted to an internal snapshot"
        }
        false => {
            "so are those of other tools: the image was made anew, or reverted to an internal \
             snapshot"
        }
    };
    format!("the bitmap {name} is gone from the image; {because}")
}

fn check_state(bitmap: &BitmapInfo, ledger: &TrackingLedger) -> Result<(), &'static str> {
    if bitmap.inconsistent {
        return Err("is inconsistent: QEMU or its host did not stop in order");
    }
    if bitmap.busy {
        return Err("is held by another operation");
    }
    if !bitmap.recording {
        return Err("does not record: changes may be missing in it");
    }
    if bitmap.granularity != ledger.granularity {
        return Err("has another granularity than it had");
    }
    if bitmap.persistent != ledger.persistent {
        return Err("is not kept in the image as it was");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use tresor_model::TrackingSigns;

    use super::*;

    const NAME: &str = "tresor-0123456789-b";
    const GIB: u64 = 1 << 30;

    fn process(pid: u32) -> HypervisorProcess {
        HypervisorProcess {
            boot: "b".to_owned(),
            pid,
            started: 7,
        }
    }

    /// Of a disk with a backing image and another tool's bitmap.
    fn ledger() -> TrackingLedger {
        TrackingLedger {
            bitmap: Some(NAME.to_owned()),
            tag: SnapshotTag::of_name(NAME).expect("ours"),
            granularity: 65536,
            persistent: true,
            image: "1:2".to_owned(),
            size: GIB,
            signs: TrackingSigns {
                chain: Some(vec!["1:9".to_owned()]),
                bitmaps: Some(vec!["libvirt-1".to_owned(), NAME.to_owned()]),
                process: Some(process(1)),
                last_whole: None,
            },
        }
    }

    fn bitmap(name: &str) -> BitmapInfo {
        BitmapInfo {
            name: Some(name.to_owned()),
            count: 0,
            granularity: 65536,
            recording: true,
            busy: false,
            persistent: true,
            inconsistent: false,
        }
    }

    /// The disk, as a test changes it.
    struct Now {
        ours: BitmapInfo,
        other: BitmapInfo,
        size: u64,
        image: &'static str,
        chain: Vec<String>,
        process: Option<HypervisorProcess>,
    }

    fn now() -> Now {
        Now {
            ours: bitmap(NAME),
            other: bitmap("libvirt-1"),
            size: GIB,
            image: "1:2",
            chain: vec!["1:9".to_owned()],
            process: Some(process(1)),
        }
    }

    fn judge(ledger: Option<&TrackingLedger>, now: &Now) -> String {
        let bitmaps = [now.ours.clone(), now.other.clone()];
        let disk = DiskNow {
            bitmaps: &bitmaps,
            size: now.size,
            image: now.image,
            chain: &now.chain,
            process: now.process.as_ref(),
        };
        match decide(ledger, disk) {
            BitmapJudgement::Trusted { bitmap } => format!("trusted {bitmap}"),
            BitmapJudgement::ReadAll { reason } => reason,
        }
    }

    type Change = fn(&mut TrackingLedger, &mut Now);

    fn judged_after(change: Change) -> String {
        let (mut ledger, mut now) = (ledger(), now());
        change(&mut ledger, &mut now);
        judge(Some(&ledger), &now)
    }

    #[test]
    fn trusted_while_every_sign_agrees() {
        let no_doubt: [Change; 6] = [
            |_, _| {},
            |_, now| now.size = 2 * GIB,
            |_, now| now.process = Some(process(2)), // kept in the image over a restart
            |_, now| now.process = None,
            |_, now| now.other = bitmap("somebody-else"),
            // An older point knows less.
            |ledger, _| ledger.signs = TrackingSigns::default(),
        ];
        for change in no_doubt {
            assert_eq!(judged_after(change), format!("trusted {NAME}"));
        }
    }

    #[test]
    fn any_doubt_reads_everything_and_says_why() {
        let doubts: [(Change, &str); 17] = [
            (|ledger, _| ledger.bitmap = None, "no bitmap was kept"),
            (|_, now| now.image = "1:3", "replaced"),
            (|_, now| now.size -= 512, "shrunk"),
            (|ledger, _| ledger.granularity = 512, "granularity"),
            (|_, now| now.ours.inconsistent = true, "inconsistent"),
            (|_, now| now.ours.busy = true, "another operation"),
            (|_, now| now.ours.recording = false, "does not record"),
            (|_, now| now.ours.persistent = false, "not kept"),
            (|_, now| now.other = bitmap(NAME), "two bitmaps"),
            (|_, now| now.ours.name = None, "somebody removed it"),
            (
                |_, now| (now.ours.name, now.other.name) = (None, None),
                "so are those of other tools",
            ),
            (
                |ledger, now| {
                    ledger.signs.bitmaps = None;
                    now.ours.name = None;
                },
                "it was removed, or",
            ),
            (
                |_, now| (now.image, now.chain) = ("1:3", vec!["1:2".to_owned(), "1:9".to_owned()]),
                "external snapshot was taken",
            ),
            (
                |_, now| (now.image, now.chain) = ("1:9", Vec::new()),
                "committed or reverted",
            ),
            (|_, now| now.chain = vec!["1:8".to_owned()], "rests on"),
            (|_, now| now.chain.clear(), "it is nothing"),
            (
                |ledger, now| {
                    (ledger.persistent, now.ours.persistent) = (false, false);
                    now.process = Some(process(2));
                },
                "over a restart",
            ),
        ];
        for (change, word) in doubts {
            let verdict = judged_after(change);
            assert!(verdict.contains(word), "{word}: {verdict}");
        }
        assert!(judge(None, &now()).contains("no earlier recovery point"));
    }

    #[test]
    fn a_bitmap_of_another_snapshot_is_not_taken_for_the_ledgers() {
        let verdict =
            judged_after(|ledger, _| ledger.bitmap = Some("tresor-ffffffffff-b".to_owned()));
        assert!(verdict.contains("was not made by"), "{verdict}");
    }

    #[test]
    fn a_bitmap_speaks_for_what_the_disk_was() {
        let mut ledger = ledger();
        assert_eq!(tracked(Some(&ledger), GIB), GIB);
        assert_eq!(tracked(Some(&ledger), 2 * GIB), GIB);
        ledger.size = GIB + 512;
        assert_eq!(tracked(Some(&ledger), 2 * GIB), GIB, "whole grains");
        assert_eq!(tracked(Some(&ledger), GIB + 512), GIB + 512);
        assert_eq!(tracked(None, GIB), GIB);
    }

    #[test]
    fn only_what_carries_no_tag_is_foreign() {
        assert_eq!(foreign(&[bitmap(NAME), bitmap("backup-1")]), ["backup-1"]);
    }
}

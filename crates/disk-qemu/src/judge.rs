//! Whether a bitmap may be believed (invariant I6). Pure.

use tresor_disk::BitmapJudgement;
use tresor_model::{SnapshotTag, TrackingLedger};
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
}

/// Trusts the ledger's bitmap only while every sign agrees.
pub(crate) fn decide(ledger: Option<&TrackingLedger>, disk: DiskNow<'_>) -> BitmapJudgement {
    match signs(ledger, disk) {
        Ok(bitmap) => BitmapJudgement::Trusted { bitmap },
        Err(reason) => BitmapJudgement::ReadAll { reason },
    }
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
    if disk.image != ledger.image {
        return Err(format!(
            "the image was replaced: it was {}, it is {}",
            ledger.image, disk.image
        ));
    }
    if disk.size != ledger.size {
        return Err(format!(
            "the disk was resized from {} to {} bytes",
            ledger.size, disk.size
        ));
    }
    let mut found = disk
        .bitmaps
        .iter()
        .filter(|bitmap| bitmap.name.as_deref() == Some(name));
    let bitmap = found.next().ok_or_else(|| {
        if ledger.persistent {
            format!("the bitmap {name} is gone from the image")
        } else {
            format!("the bitmap {name} is gone: this image format keeps none over a restart")
        }
    })?;
    if found.next().is_some() {
        return Err(format!("there are two bitmaps {name}"));
    }
    check_state(bitmap, ledger).map_err(|reason| format!("the bitmap {name} {reason}"))?;
    Ok(name.to_owned())
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
    use super::*;

    const NAME: &str = "tresor-0123456789-b";

    fn ledger() -> TrackingLedger {
        TrackingLedger {
            bitmap: Some(NAME.to_owned()),
            tag: SnapshotTag::of_name(NAME).expect("ours"),
            granularity: 65536,
            persistent: true,
            image: "1:2".to_owned(),
            size: 1 << 30,
        }
    }

    fn bitmap() -> BitmapInfo {
        BitmapInfo {
            name: Some(NAME.to_owned()),
            count: 0,
            granularity: 65536,
            recording: true,
            busy: false,
            persistent: true,
            inconsistent: false,
        }
    }

    fn judge(ledger: Option<&TrackingLedger>, bitmaps: &[BitmapInfo], size: u64) -> String {
        let image = "1:2";
        let disk = DiskNow {
            bitmaps,
            size,
            image,
        };
        match decide(ledger, disk) {
            BitmapJudgement::Trusted { bitmap } => format!("trusted {bitmap}"),
            BitmapJudgement::ReadAll { reason } => reason,
        }
    }

    #[test]
    fn trusted_while_every_sign_agrees() {
        let verdict = judge(Some(&ledger()), &[bitmap()], 1 << 30);
        assert_eq!(verdict, format!("trusted {NAME}"));
    }

    #[test]
    fn any_doubt_reads_everything_and_says_why() {
        type Change = fn(&mut TrackingLedger, &mut BitmapInfo);
        let doubts: [(Change, &str); 9] = [
            (|ledger, _| ledger.bitmap = None, "no bitmap was kept"),
            (|ledger, _| ledger.image = "1:3".to_owned(), "replaced"),
            (|ledger, _| ledger.size = 1 << 29, "resized"),
            (|ledger, _| ledger.granularity = 512, "granularity"),
            (|_, bitmap| bitmap.name = None, "gone from the image"),
            (|_, bitmap| bitmap.inconsistent = true, "inconsistent"),
            (|_, bitmap| bitmap.busy = true, "another operation"),
            (|_, bitmap| bitmap.recording = false, "does not record"),
            (|_, bitmap| bitmap.persistent = false, "not kept"),
        ];
        for (change, word) in doubts {
            let (mut ledger, mut bitmap) = (ledger(), bitmap());
            change(&mut ledger, &mut bitmap);
            let verdict = judge(Some(&ledger), &[bitmap], 1 << 30);
            assert!(verdict.contains(word), "{verdict}");
        }
        assert!(judge(None, &[bitmap()], 1 << 30).contains("no earlier recovery point"));
    }

    #[test]
    fn a_bitmap_of_another_snapshot_is_not_taken_for_the_ledgers() {
        let mut foreign = ledger();
        foreign.bitmap = Some("tresor-ffffffffff-b".to_owned());
        let verdict = judge(Some(&foreign), &[bitmap()], 1 << 30);
        assert!(verdict.contains("was not made by"), "{verdict}");
    }
}

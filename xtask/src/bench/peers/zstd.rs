//! `zstd -1 -T2`: compression alone, by its own tool.

use std::path::Path;

use anyhow::Result;

use super::{Case, Peer, Place, Requirement, Step, command};
use crate::bench::targets::Kind;

pub(super) struct Zstd;

impl Peer for Zstd {
    fn name(&self) -> &'static str {
        "zstd"
    }

    fn kind(&self) -> Kind {
        Kind {
            comparable: false,
            compresses: true,
        }
    }

    fn requirements(&self) -> &'static [Requirement] {
        &[Requirement {
            program: "zstd",
            package: "zstd",
        }]
    }

    fn prepare(&self, _: &Place<'_>) -> Result<()> {
        Ok(())
    }

    fn steps(&self, place: &Place<'_>) -> Vec<Step> {
        let compress = |from: &Path, to: &Path| {
            let mut zstd = command("zstd", ["-q", "-1", "-T2", "-o"]);
            zstd.arg(to).arg(from);
            zstd
        };
        let (day1, day2) = (
            place.store().join("day1.zst"),
            place.store().join("day2.zst"),
        );
        let restored = place.restored().join("day2.raw");
        let mut restore = command("zstd", ["-q", "-d", "-o"]);
        restore.arg(&restored).arg(&day2);
        let mut verify = command("zstd", ["-q", "-t"]);
        verify.arg(&day1).arg(&day2);
        vec![
            Step::new(Case::Full, place, compress(&place.images.day1, &day1)),
            Step::new(Case::Reread, place, compress(&place.images.day2, &day2))
                .noting("full again"),
            Step::new(Case::Restore, place, restore).restoring(restored),
            Step::new(Case::Verify, place, verify).noting("two fulls"),
        ]
    }
}

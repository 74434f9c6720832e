//! `cp --sparse=always`: what moving the bytes costs, without keeping them well.

use anyhow::Result;

use super::{Case, Peer, Place, Requirement, Step, command};
use crate::bench::targets::Kind;

pub(super) struct Copy;

impl Peer for Copy {
    fn name(&self) -> &'static str {
        "cp"
    }

    fn kind(&self) -> Kind {
        Kind {
            comparable: false,
            compresses: false,
        }
    }

    fn requirements(&self) -> &'static [Requirement] {
        &[Requirement {
            program: "cp",
            package: "coreutils",
        }]
    }

    fn prepare(&self, _: &Place<'_>) -> Result<()> {
        Ok(())
    }

    fn steps(&self, place: &Place<'_>) -> Vec<Step> {
        let copy = |from: &std::path::Path, to: &std::path::Path| {
            let mut cp = command("cp", ["--sparse=always", "--reflink=never"]);
            cp.arg(from).arg(to);
            cp
        };
        let (day1, day2) = (
            place.store().join("day1.raw"),
            place.store().join("day2.raw"),
        );
        let restored = place.restored().join("day2.raw");
        vec![
            Step::new(Case::Full, place, copy(&place.images.day1, &day1)),
            Step::new(Case::Reread, place, copy(&place.images.day2, &day2)).noting("full again"),
            Step::new(Case::Restore, place, copy(&day2, &restored)).restoring(restored.clone()),
        ]
    }
}

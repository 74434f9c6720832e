//! rustic, with its defaults: content-defined chunks, zstd, restic's format.

use std::{path::Path, process::Command};

use anyhow::Result;

use super::{Case, Peer, Place, Requirement, Step, make_repository};
use crate::bench::targets::Kind;

pub(super) struct Rustic;

impl Peer for Rustic {
    fn name(&self) -> &'static str {
        "rustic"
    }

    fn kind(&self) -> Kind {
        Kind {
            comparable: true,
            compresses: true,
        }
    }

    fn requirements(&self) -> &'static [Requirement] {
        &[Requirement {
            program: "rustic",
            package: "crate:rustic-rs@0.11.4",
        }]
    }

    fn prepare(&self, place: &Place<'_>) -> Result<()> {
        make_repository(self.name(), rustic(place, &["init"]))
    }

    fn steps(&self, place: &Place<'_>) -> Vec<Step> {
        let backup = |image: &Path| {
            let mut rustic = rustic(place, &["backup", "--force", "--host", "vm"]);
            rustic.arg(image);
            rustic
        };
        let day2 = &place.images.day2;
        let mut restore = rustic(place, &["restore"]);
        let restored = place.restored().join("day2.raw");
        restore
            .arg(format!("latest:{}", day2.display()))
            .arg(&restored);
        vec![
            Step::new(Case::Full, place, backup(&place.images.day1)).noting("reads holes too"),
            Step::new(Case::Reread, place, backup(day2)).noting("reads holes too"),
            Step::new(Case::Restore, place, restore).restoring(restored),
            Step::new(
                Case::Verify,
                place,
                rustic(place, &["check", "--read-data"]),
            ),
        ]
    }
}

fn rustic(place: &Place<'_>, arguments: &[&str]) -> Command {
    let mut command = Command::new("rustic");
    command.arg("--no-progress").arg("--log-level").arg("warn");
    command.arg("--repository").arg(place.store());
    command.arg("--password-file").arg(place.key());
    command
        .arg("--cache-dir")
        .arg(place.dir.join("cache"))
        .args(arguments);
    command
}

//! restic, with its defaults: content-defined chunks, zstd, AES-CTR with Poly1305.

use std::{path::Path, process::Command};

use anyhow::Result;

use super::{Case, Peer, Place, Requirement, Step, make_repository};
use crate::bench::targets::Kind;

pub(super) struct Restic;

impl Peer for Restic {
    fn name(&self) -> &'static str {
        "restic"
    }

    fn kind(&self) -> Kind {
        Kind {
            comparable: true,
            compresses: true,
        }
    }

    fn requirements(&self) -> &'static [Requirement] {
        &[Requirement {
            program: "restic",
            package: "restic",
        }]
    }

    fn prepare(&self, place: &Place<'_>) -> Result<()> {
        make_repository(self.name(), restic(place, &["init"]))
    }

    fn steps(&self, place: &Place<'_>) -> Vec<Step> {
        let backup = |image: &Path| {
            let mut restic = restic(place, &["backup", "--force", "--host", "vm"]);
            restic.arg(image);
            restic
        };
        let mut restore = restic(place, &["restore", "latest", "--target"]);
        restore.arg(place.restored());
        // It restores a file under its whole old path.
        let old = place
            .images
            .day2
            .strip_prefix("/")
            .unwrap_or(&place.images.day2);
        vec![
            Step::new(Case::Full, place, backup(&place.images.day1)).noting("reads holes too"),
            Step::new(Case::Reread, place, backup(&place.images.day2)).noting("reads holes too"),
            Step::new(Case::Restore, place, restore).restoring(place.restored().join(old)),
            Step::new(
                Case::Verify,
                place,
                restic(place, &["check", "--read-data"]),
            ),
        ]
    }
}

fn restic(place: &Place<'_>, arguments: &[&str]) -> Command {
    let mut command = Command::new("restic");
    command.arg("--quiet").arg("--repo").arg(place.store());
    command.arg("--password-file").arg(place.key());
    command
        .arg("--cache-dir")
        .arg(place.dir.join("cache"))
        .args(arguments);
    command
}

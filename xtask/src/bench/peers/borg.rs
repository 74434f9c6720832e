//! Borg, encrypted and authenticated by `repokey-blake2`, in three ways: its content-defined
//! chunks with zstd 3 and with its default, lz4; and, as its users do with disk images, fixed
//! chunks of 4 MiB that skip holes, with zstd 1.

use std::{path::Path, process::Command};

use anyhow::Result;

use super::{Case, Peer, Place, Requirement, Step, make_repository};
use crate::bench::targets::Kind;

pub(super) struct Borg {
    name: &'static str,
    create: &'static [&'static str],
    note: &'static str,
}

impl Borg {
    pub(super) const ZSTD: Self = Self {
        name: "borg",
        create: &["-C", "zstd,3"],
        note: "zstd 3, buzhash, reads holes too",
    };
    pub(super) const LZ4: Self = Self {
        name: "borg-lz4",
        create: &["-C", "lz4"],
        note: "lz4, buzhash, reads holes too",
    };
    pub(super) const FIXED: Self = Self {
        name: "borg-fixed",
        create: &[
            "-C",
            "zstd,1",
            "--sparse",
            "--chunker-params",
            "fixed,4194304",
        ],
        note: "zstd 1, fixed 4 MiB, skips holes",
    };

    fn create(&self, place: &Place<'_>, archive: &str, image: &Path) -> Command {
        let mut borg = borg(place, "create");
        borg.args(self.create)
            .arg(archive_of(place, archive))
            .arg(image);
        borg
    }
}

impl Peer for Borg {
    fn name(&self) -> &'static str {
        self.name
    }

    fn kind(&self) -> Kind {
        Kind {
            comparable: true,
            compresses: true,
        }
    }

    fn requirements(&self) -> &'static [Requirement] {
        &[Requirement {
            program: "borg",
            package: "borgbackup",
        }]
    }

    fn prepare(&self, place: &Place<'_>) -> Result<()> {
        let mut init = borg(place, "init");
        init.args(["-e", "repokey-blake2"]).arg(place.store());
        make_repository("borg", init)
    }

    fn steps(&self, place: &Place<'_>) -> Vec<Step> {
        let mut extract = borg(place, "extract");
        extract
            .arg("--sparse")
            .arg(archive_of(place, "day2"))
            .current_dir(place.restored());
        let mut check = borg(place, "check");
        check.arg("--verify-data").arg(place.store());
        // It restores a file under its whole old path.
        let old = place
            .images
            .day2
            .strip_prefix("/")
            .unwrap_or(&place.images.day2);
        vec![
            Step::new(
                Case::Full,
                place,
                self.create(place, "day1", &place.images.day1),
            )
            .noting(self.note),
            Step::new(
                Case::Reread,
                place,
                self.create(place, "day2", &place.images.day2),
            )
            .noting(self.note),
            Step::new(Case::Restore, place, extract).restoring(place.restored().join(old)),
            Step::new(Case::Verify, place, check),
        ]
    }
}

/// The location of an archive in the store.
fn archive_of(place: &Place<'_>, name: &str) -> String {
    format!("{}::{name}", place.store().display())
}

/// Borg with its key's passphrase from a file, and all its state below the tool's directory.
fn borg(place: &Place<'_>, verb: &str) -> Command {
    let mut command = Command::new("borg");
    command.env("BORG_PASSCOMMAND", format!("cat {}", place.key().display()));
    command
        .env("BORG_BASE_DIR", place.dir.join("cache"))
        .arg(verb);
    command
}

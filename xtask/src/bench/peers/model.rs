//! A model of the per-chunk work of a 4 MiB chunk store (`crates/bench`): our emulation, no product.

use std::process::Command;

use anyhow::Result;

use super::{Case, Peer, Place, Requirement, Step};
use crate::bench::targets::Kind;

/// Its name in the table.
pub(in crate::bench) const NAME: &str = "4mib-model";

pub(super) struct Model;

impl Peer for Model {
    fn name(&self) -> &'static str {
        NAME
    }

    fn kind(&self) -> Kind {
        // It has no more than the work of a client has, so it is no rival, but a measure.
        Kind {
            comparable: false,
            compresses: false,
        }
    }

    fn requirements(&self) -> &'static [Requirement] {
        &[]
    }

    fn prepare(&self, _: &Place<'_>) -> Result<()> {
        Ok(())
    }

    fn steps(&self, place: &Place<'_>) -> Vec<Step> {
        let mut full = model(place, "full");
        full.arg("--image").arg(&place.images.day1);
        let mut incremental = model(place, "incremental");
        incremental.arg("--image").arg(&place.images.day2);
        incremental.arg("--changed").arg(&place.images.changed_file);
        let restored = place.restored().join("day2.raw");
        let mut restore = model(place, "restore");
        restore.arg("--to").arg(&restored);
        vec![
            Step::new(Case::Full, place, full).noting("2 workers, zstd 1"),
            Step::new(Case::Incremental, place, incremental),
            Step::new(Case::Restore, place, restore).restoring(restored),
            Step::new(Case::Verify, place, model(place, "verify")),
            Step::new(Case::Random, place, model(place, "random")),
        ]
    }
}

fn model(place: &Place<'_>, verb: &str) -> Command {
    let mut command = Command::new(place.target.join("release/chunk-store-model"));
    command.arg(verb).arg("--store").arg(place.store());
    command.arg("--key-file").arg(place.key());
    command
}

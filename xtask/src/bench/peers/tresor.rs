//! Tresor itself: the worker `tresor-bench`, which drives the crates that `tresor` is made of.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};

use super::{Case, Peer, Place, Requirement, Step, command};
use crate::bench::targets::{Kind, OURS};

/// How much of it is measured.
pub(super) struct Tresor {
    of_the_vault: bool,
}

impl Tresor {
    /// What a user gets.
    pub(super) const WHOLE: Self = Self {
        of_the_vault: false,
    };
    /// Also what the vault can do by itself, beside what `cat` needs for the same bytes.
    pub(super) const VAULT: Self = Self { of_the_vault: true };
}

impl Peer for Tresor {
    fn name(&self) -> &'static str {
        OURS
    }

    fn kind(&self) -> Kind {
        Kind {
            comparable: true,
            compresses: true,
        }
    }

    fn requirements(&self) -> &'static [Requirement] {
        &[Requirement {
            program: "cp",
            package: "coreutils",
        }]
    }

    fn prepare(&self, place: &Place<'_>) -> Result<()> {
        let output = worker(place, "create")
            .output()
            .context("cannot run tresor-bench")?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(
            output.status.success(),
            "tresor-bench could not make its vault: {said}"
        );
        Ok(())
    }

    fn steps(&self, place: &Place<'_>) -> Vec<Step> {
        // Day 2 is read in two ways, each into a vault that has day 1 only.
        let second = place.dir.join("store-reread");
        let copy = copy_with_index(&place.store(), &second);

        let mut full = worker(place, "full");
        full.arg("--image").arg(&place.images.day1);
        let mut reread = worker_on(place, "reread", second.clone());
        reread.arg("--image").arg(&place.images.day2);
        let mut incremental = worker(place, "incremental");
        incremental.arg("--image").arg(&place.images.day2);
        incremental.arg("--changed").arg(&place.images.changed_file);
        let mut restore = worker(place, "restore");
        let restored = place.restored().join("day2.raw");
        restore.arg("--to").arg(&restored);
        let verify = if self.of_the_vault {
            vec![
                Step::new(Case::Verify, place, worker(place, "verify-objects"))
                    .noting("all objects, without keys"),
                yardstick(Case::Verify, place, cat_files(place)).noting("the vault's files"),
                yardstick(Case::Reread, place, cat_extents(place)).noting("allocated extents"),
                Step::new(Case::Random, place, worker(place, "random")),
            ]
        } else {
            let verify = worker(place, "verify");
            vec![Step::new(Case::Verify, place, verify).noting("point of day 2")]
        };
        let mut steps = vec![
            Step::new(Case::Full, place, full),
            Step {
                before: Some(copy),
                store: second,
                ..Step::new(Case::Reread, place, reread)
            },
            Step::new(Case::Incremental, place, incremental),
            Step::new(Case::Restore, place, restore).restoring(restored),
        ];
        steps.extend(verify);
        steps
    }
}

/// Copies a vault, and what the worker keeps of it on this machine.
fn copy_with_index(from: &Path, to: &Path) -> Command {
    let script = r#"cp -a "$1" "$2" && cp -a "$1.index-cache" "$2.index-cache""#;
    let mut sh = command("sh", ["-c", script, "sh"]);
    sh.arg(from).arg(to);
    sh
}

/// A step that is not ours.
fn yardstick(case: Case, place: &Place<'_>, command: Command) -> Step {
    Step {
        yardstick: Some("cat"),
        ..Step::new(case, place, command)
    }
}

fn cat_files(place: &Place<'_>) -> Command {
    let script = "find \"$1\" -type f -print0 | xargs -0 cat >/dev/null";
    let mut sh = command("sh", ["-c", script, "sh"]);
    sh.arg(place.store());
    sh
}

/// `cat` reads holes too: the worker reads as it does, but only what is allocated.
fn cat_extents(place: &Place<'_>) -> Command {
    let mut cat = worker(place, "cat");
    cat.arg("--image").arg(&place.images.day2);
    cat
}

fn worker(place: &Place<'_>, verb: &str) -> Command {
    worker_on(place, verb, place.store())
}

fn worker_on(place: &Place<'_>, verb: &str, vault: PathBuf) -> Command {
    let mut command = Command::new(place.target.join("release/tresor-bench"));
    command
        .arg(verb)
        .arg("--vault")
        .arg(vault)
        .arg("--key-file")
        .arg(place.key());
    command
}

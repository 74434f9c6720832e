//! The tools that are measured side by side, each as a list of steps.
//!
//! Rules, the same for all: encryption on where a tool has it, keys and caches below the bench's
//! own directory, defaults unless the name of the entry says otherwise, nothing running beside.

mod borg;
mod copy;
mod model;
mod restic;
mod rustic;
mod tresor;
mod zstd;

use std::{
    fmt,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Result, ensure};
use serde::{Deserialize, Serialize};

use super::{images::ImageSet, packages::Requirement, targets::Kind};

pub(super) use self::model::NAME as MODEL;

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Case {
    /// Day 1 into an empty store.
    Full,
    /// Day 2 into the store that has day 1, without knowing what changed.
    Reread,
    /// Day 2 into the store that has day 1, by the list of changed extents.
    Incremental,
    /// Day 2 back to a raw image.
    Restore,
    /// Everything in the store read and checked.
    Verify,
    /// 4 KiB at random places of day 2, one after another.
    Random,
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Full => "full",
            Self::Reread => "reread",
            Self::Incremental => "incremental",
            Self::Restore => "restore",
            Self::Verify => "verify",
            Self::Random => "random",
        })
    }
}

/// Where a tool works and what on.
#[derive(Debug)]
pub(super) struct Place<'a> {
    /// The images.
    pub images: &'a ImageSet,
    /// A directory of the tool's own, empty at first.
    pub dir: &'a Path,
    /// The target directory of the workspace's build.
    pub target: &'a Path,
}

impl Place<'_> {
    /// The store whose size counts.
    pub(super) fn store(&self) -> PathBuf {
        self.dir.join("store")
    }

    /// Where the tool restores to.
    fn restored(&self) -> PathBuf {
        self.dir.join("restored")
    }

    /// The file that holds the key or the passphrase.
    pub(super) fn key(&self) -> PathBuf {
        self.dir.join("key")
    }
}

/// One measured run of a tool, and what belongs to it.
#[derive(Debug)]
pub(super) struct Step {
    pub case: Case,
    /// Who is measured, where that is not the tool itself but a yardstick on what it left.
    pub yardstick: Option<&'static str>,
    /// Run before, not measured.
    pub before: Option<Command>,
    pub command: Command,
    /// The store that grows.
    pub store: PathBuf,
    /// The file that it restores.
    pub restores: Option<PathBuf>,
    /// What a reader of the figures should know.
    pub note: &'static str,
}

impl Step {
    fn new(case: Case, place: &Place<'_>, command: Command) -> Self {
        Self {
            case,
            yardstick: None,
            before: None,
            command,
            store: place.store(),
            restores: None,
            note: "",
        }
    }

    fn restoring(mut self, file: PathBuf) -> Self {
        self.restores = Some(file);
        self
    }

    fn noting(mut self, note: &'static str) -> Self {
        self.note = note;
        self
    }
}

/// A tool.
pub(super) trait Peer {
    /// Its name in the table and for `--only`.
    fn name(&self) -> &'static str;

    /// What it can be compared in.
    fn kind(&self) -> Kind;

    /// What must be installed.
    fn requirements(&self) -> &'static [Requirement];

    /// Makes the empty store; not measured. The directories of `place` exist.
    fn prepare(&self, place: &Place<'_>) -> Result<()>;

    /// Its runs, in order.
    fn steps(&self, place: &Place<'_>) -> Vec<Step>;
}

/// All tools, in the order in which they run.
pub(super) fn all() -> Vec<Box<dyn Peer>> {
    vec![
        Box::new(copy::Copy),
        Box::new(zstd::Zstd),
        Box::new(restic::Restic),
        Box::new(borg::Borg::ZSTD),
        Box::new(borg::Borg::LZ4),
        Box::new(borg::Borg::FIXED),
        Box::new(tresor::Tresor::WHOLE),
    ]
}

/// The tools that the vault is measured by, in their defaults, and a model of a chunk store.
pub(super) fn of_the_vault() -> Vec<Box<dyn Peer>> {
    vec![
        Box::new(copy::Copy),
        Box::new(restic::Restic),
        Box::new(rustic::Rustic),
        Box::new(borg::Borg::LZ4),
        Box::new(model::Model),
        Box::new(tresor::Tresor::VAULT),
    ]
}

/// Runs what makes a tool's empty repository.
fn make_repository(tool: &str, mut command: Command) -> Result<()> {
    let output = command.output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.success(),
        "{tool} could not make its repository: {said}"
    );
    Ok(())
}

fn command<const N: usize>(program: &str, arguments: [&str; N]) -> Command {
    let mut command = Command::new(program);
    command.args(arguments);
    command
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_are_unique() {
        let names: BTreeSet<_> = all().iter().map(|peer| peer.name()).collect();
        assert_eq!(names.len(), all().len());
        let names: BTreeSet<_> = of_the_vault().iter().map(|peer| peer.name()).collect();
        assert_eq!(names.len(), of_the_vault().len());
    }
}

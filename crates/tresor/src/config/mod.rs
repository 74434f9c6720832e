//! The configuration file: what stands in it, what is wrong in it, and how it comes to count.
//!
//! There is no table of options beside the command line's: a key is an option's long name with `_` for `-`, its help is
//! the option's, and what it may be is decided by the option's parser. So neither can be forgotten.
//!
//! # What beats what
//! The command line, then the environment, then the file, then the default: the file's values become the
//! defaults that clap goes by ([`mod@apply`]).

mod apply;
mod effective;
mod example;
mod file;
mod near;
mod options;

#[cfg(test)]
use apply::leaf;
pub(crate) use apply::{apply, without_rivals};
pub(crate) use effective::{Row, Source, common_rows, section_rows};
pub(crate) use example::example;
pub(crate) use file::ConfigFile;
pub(crate) use options::Section;

use std::{
    ffi::{OsStr, OsString},
    path::{Path, PathBuf},
};

use clap::Command;
use tresor_problem::Problem;

/// The file that is read when none is named.
pub(crate) const DEFAULT: &str = "/etc/tresor/tresor.toml";
/// Names another one; empty: none at all.
pub(crate) const VARIABLE: &str = "TRESOR_CONFIG";

/// Which file is to be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Choice {
    path: PathBuf,
    /// Somebody asked for it, so it must be there.
    named: bool,
}

impl Choice {
    /// By the arguments, in which clap may have refused something, and by the variable's value. `None`: no file.
    pub(crate) fn of(args: &[OsString], variable: Option<OsString>) -> Option<Self> {
        Self::named_or_usual(option(args).or(variable))
    }

    /// The one that is named, else the usual one. `None`: no file.
    pub(crate) fn named_or_usual(named: Option<OsString>) -> Option<Self> {
        match named {
            Some(path) if path.is_empty() => None,
            Some(path) => Some(Self {
                path: path.into(),
                named: true,
            }),
            None => Some(Self {
                path: DEFAULT.into(),
                named: false,
            }),
        }
    }

    /// This one, which must be there.
    pub(crate) fn named(path: PathBuf) -> Self {
        Self { path, named: true }
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Reads it and judges it by the options of `command`. `None`: there is no file, and nobody asked for one.
    ///
    /// # Errors
    /// `ConfigUnreadable`, `ConfigInvalid`.
    pub(crate) fn read(&self, command: &Command) -> Result<Option<ConfigFile>, Problem> {
        ConfigFile::read(&self.path, self.named, command)
    }
}

/// The value of `--config` in arguments.
fn option(args: &[OsString]) -> Option<OsString> {
    let ours = args.iter().take_while(|arg| *arg != OsStr::new("--"));
    let mut ours = ours.skip(1);
    let mut found = None;
    while let Some(arg) = ours.next() {
        if arg == OsStr::new("--config") {
            found = ours.next().cloned();
        } else if let Some(value) = arg.to_str().and_then(|arg| arg.strip_prefix("--config=")) {
            found = Some(value.into());
        }
    }
    found
}

#[cfg(test)]
mod tests;

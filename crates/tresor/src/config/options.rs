//! Which options may stand in the file, as the command line has them.

use clap::{Arg, ArgAction, Command};

/// A part of the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Section {
    /// What stands above all tables: options of every command.
    Common,
    /// `[serve]`: options of `tresor serve`.
    Serve,
    /// `[host]`: options of `tresor host`.
    Host,
}

/// Options of every command that say where things are, and not how one run shows its results.
const COMMON: [&str; 4] = ["state-dir", "database", "database-file", "log-format"];

/// Options that stay out of the file: the section, the option, why.
pub(super) const LEFT_OUT: [(Section, &str, &str); 2] = [
    (
        Section::Serve,
        "adopt-authority",
        "it is decided once, and not anew by each start",
    ),
    (
        Section::Host,
        "token",
        "a token is a secret that is used once: token_file names a file with it",
    ),
];

impl Section {
    pub(crate) const ALL: [Self; 3] = [Self::Common, Self::Serve, Self::Host];
    /// Those that are tables of the file.
    pub(super) const TABLES: [Self; 2] = [Self::Serve, Self::Host];

    /// Its table's name, and that of its command; empty: the file's own table.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Common => "",
            Self::Serve => "serve",
            Self::Host => "host",
        }
    }

    /// A key in full, as messages name it.
    pub(super) fn full(self, key: &str) -> String {
        match self {
            Self::Common => key.to_owned(),
            Self::Serve | Self::Host => format!("{}.{key}", self.name()),
        }
    }

    /// The command that has its options, before clap has added those of every command to it.
    pub(super) fn command(self, root: &Command) -> Option<&Command> {
        match self {
            Self::Common => Some(root),
            Self::Serve | Self::Host => root.find_subcommand(self.name()),
        }
    }
}

/// How a value is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    /// `"text"`
    Text,
    /// `["text", "text"]`
    List,
    /// `true` or `false`
    Switch,
}

/// An option that may stand in the file.
#[derive(Debug, Clone)]
pub(crate) struct FileOption {
    pub(crate) section: Section,
    /// As the file has it.
    pub(crate) key: String,
    pub(crate) arg: Arg,
}

impl FileOption {
    /// As the command line has it, without its dashes.
    pub(crate) fn long(&self) -> &str {
        self.arg.get_long().unwrap_or_default()
    }

    pub(crate) fn shape(&self) -> Shape {
        match self.arg.get_action() {
            ArgAction::Append => Shape::List,
            ArgAction::SetTrue | ArgAction::SetFalse => Shape::Switch,
            _ => Shape::Text,
        }
    }

    /// Whether its value is never shown: what the help keeps to itself.
    pub(crate) fn is_secret(&self) -> bool {
        self.arg.is_hide_env_values_set()
    }

    pub(crate) fn full(&self) -> String {
        self.section.full(&self.key)
    }
}

/// All options that may stand in the file, in the order of the help.
pub(crate) fn options(root: &Command) -> Vec<FileOption> {
    let of = |section: Section| {
        let command = section.command(root).into_iter();
        let args = command.flat_map(Command::get_arguments);
        args.filter_map(move |arg| {
            let long = arg.get_long()?;
            let is_in = match section {
                Section::Common => COMMON.contains(&long),
                Section::Serve | Section::Host => left_out(section, long).is_none(),
            };
            is_in.then(|| FileOption {
                section,
                key: key_of(long),
                arg: arg.clone(),
            })
        })
    };
    Section::ALL.into_iter().flat_map(of).collect()
}

/// Why an option of this name stays out of the file.
pub(super) fn left_out(section: Section, long: &str) -> Option<&'static str> {
    let mut found = LEFT_OUT.iter();
    let found = found.find(|(of, name, _)| *of == section && *name == long);
    found.map(|(_, _, why)| *why)
}

/// An option's name as the file has it.
pub(super) fn key_of(long: &str) -> String {
    long.replace('-', "_")
}

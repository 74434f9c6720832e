//! How the file's values come to count: as the defaults of the options.

use clap::{Arg, ArgMatches, Command, parser::ValueSource};

use super::{
    file::{ConfigFile, Setting},
    options::Section,
};

/// Options of which only one may be given: what was given by hand beats the other one in the file.
const RIVALS: [(&str, &str); 2] = [("database", "database_file"), ("database_file", "database")];

/// The command with the file's values as defaults. An option that is in the file need not be given.
pub(crate) fn apply(root: Command, file: &ConfigFile) -> Command {
    file.settings.iter().fold(root, |root, setting| {
        let default = |arg: Arg| arg.required(false).default_values(setting.words.clone());
        match setting.section {
            Section::Common => root.mut_arg(&setting.id, default),
            section => root.mut_subcommand(section.name(), |command| {
                command.mut_arg(&setting.id, default)
            }),
        }
    })
}

/// The file without what others beat that were given by hand. `None`: nothing does.
pub(crate) fn without_rivals(file: &ConfigFile, matches: &ArgMatches) -> Option<ConfigFile> {
    let leaf = leaf(matches);
    let given = |id: &str| {
        let source = leaf.value_source(id);
        matches!(
            source,
            Some(ValueSource::CommandLine | ValueSource::EnvVariable)
        )
    };
    let beaten = |setting: &Setting| {
        let rivals = RIVALS.iter().filter(|(_, file)| *file == setting.id);
        let mut hands = rivals.map(|(hand, _)| hand);
        setting.section == Section::Common && hands.any(|hand| given(hand))
    };
    file.settings.iter().any(beaten).then(|| {
        let kept = file.settings.iter().filter(|setting| !beaten(setting));
        ConfigFile {
            path: file.path.clone(),
            settings: kept.cloned().collect(),
        }
    })
}

/// What was matched of the command that was named, which has the options of every command too.
pub(super) fn leaf(matches: &ArgMatches) -> &ArgMatches {
    let mut leaf = matches;
    while let Some((_, below)) = leaf.subcommand() {
        leaf = below;
    }
    leaf
}

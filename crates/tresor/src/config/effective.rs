//! Which value of each option counts, and where it comes from.

use std::ffi::OsString;

use clap::{ArgMatches, Command, parser::ValueSource};
use serde::Serialize;

use super::{
    apply::{apply, leaf},
    file::ConfigFile,
    options::{FileOption, Section, Shape, options},
};

/// Where a value comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Source {
    Default,
    File,
    Environment,
    CommandLine,
}

/// An option as it counts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Row {
    /// Empty for options of every command.
    pub(crate) section: &'static str,
    pub(crate) key: String,
    /// A text, a list, or nothing where there is no value; of a secret nothing either.
    pub(crate) value: Option<serde_json::Value>,
    /// Whether there is a value that is not shown.
    pub(crate) secret: bool,
    pub(crate) source: Source,
    /// The line of the file that says so.
    pub(crate) line: Option<usize>,
    /// What counts where there is no value, in the help's words.
    pub(crate) otherwise: Option<String>,
}

/// The options of every command, as the matches of a command line have them.
pub(crate) fn common_rows(
    root: &Command,
    file: Option<&ConfigFile>,
    matches: &ArgMatches,
) -> Vec<Row> {
    rows(root, Section::Common, file, leaf(matches))
}

/// The options of `serve` or `host`, when it is started with these words.
///
/// # Errors
/// What clap says of the words.
pub(crate) fn section_rows(
    root: &Command,
    section: Section,
    file: Option<&ConfigFile>,
    words: &[OsString],
) -> Result<Vec<Row>, clap::Error> {
    // What is missing is shown as missing.
    let mut command = root.clone().mut_subcommand(section.name(), |command| {
        command.mut_args(|arg| arg.required(false))
    });
    if let Some(file) = file {
        command = apply(command, file);
    }
    let start = [root.get_name(), section.name()].map(OsString::from);
    let matches = command.try_get_matches_from(start.iter().chain(words))?;
    Ok(rows(root, section, file, leaf(&matches)))
}

fn rows(
    root: &Command,
    section: Section,
    file: Option<&ConfigFile>,
    matches: &ArgMatches,
) -> Vec<Row> {
    let all = options(root).into_iter();
    let ours = all.filter(|option| option.section == section);
    ours.map(|option| row(&option, file, matches)).collect()
}

fn row(option: &FileOption, file: Option<&ConfigFile>, matches: &ArgMatches) -> Row {
    let id = option.arg.get_id().as_str();
    let in_file = file.and_then(|file| file.setting(option.section, id));
    let source = match matches.value_source(id) {
        Some(ValueSource::CommandLine) => Source::CommandLine,
        Some(ValueSource::EnvVariable) => Source::Environment,
        _ if in_file.is_some() => Source::File,
        _ => Source::Default,
    };
    let raw = matches.get_raw(id).into_iter().flatten();
    let words: Vec<String> = raw
        .map(|word| word.to_string_lossy().into_owned())
        .collect();
    let secret = option.is_secret() && !words.is_empty();
    let value = match option.shape() {
        _ if secret => None,
        Shape::List if words.is_empty() && source == Source::Default => None,
        Shape::List => Some(words.into()),
        Shape::Switch => Some((words.first().is_some_and(|word| word == "true")).into()),
        Shape::Text => words.into_iter().next().map(Into::into),
    };
    Row {
        section: option.section.name(),
        key: option.key.clone(),
        otherwise: otherwise(option).filter(|_| value.is_none() && !secret),
        value,
        secret,
        source,
        line: in_file
            .filter(|_| source == Source::File)
            .map(|setting| setting.line),
    }
}

/// What the help says of the case that nothing is given: `[default: …]` at its end.
pub(super) fn otherwise(option: &FileOption) -> Option<String> {
    let help = option.arg.get_help()?.to_string();
    let (_, default) = help.split_once("[default: ")?;
    let default = default.trim_end().strip_suffix(']')?;
    Some(default.to_owned())
}

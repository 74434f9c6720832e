//! `tresor config …`

use std::{
    ffi::OsString,
    io::{self, Write as _},
    path::PathBuf,
};

use clap::CommandFactory as _;
use serde_json::json;
use tresor_host::usage;
use tresor_problem::Problem;

use super::session::{Session, print_problem};
use crate::{
    args::{Cli, ConfigCommand, ConfigTable},
    config::{Choice, ConfigFile, Row, Section, Source, apply, common_rows, example, section_rows},
    output::note,
    usage::first_paragraph,
};

pub(super) fn run(command: ConfigCommand, session: &Session) -> Result<(), Problem> {
    match command {
        ConfigCommand::Show { table, options } => show(table, &options, session),
        ConfigCommand::Check { file } => check(file, session),
        ConfigCommand::Example => {
            let text = example(&Cli::command());
            let print = || write!(io::stdout(), "{text}");
            match session.output.is_json() {
                true => {
                    session
                        .output
                        .result("config_example", &json!({ "text": text }), String::new)
                }
                false => print(),
            }
            .map_err(print_problem)
        }
    }
}

/// The file that counts for this command line.
fn choice(session: &Session) -> Option<Choice> {
    Choice::named_or_usual(session.config().cloned())
}

fn show(
    table: Option<ConfigTable>,
    options: &[OsString],
    session: &Session,
) -> Result<(), Problem> {
    let root = Cli::command();
    let choice = choice(session);
    let file = match &choice {
        Some(choice) => choice.read(&root)?,
        None => None,
    };
    let rows = rows(table, options, file.as_ref())?;
    match (&file, &choice) {
        (Some(file), _) => note(&format!("the file is {}", file.path.display())),
        (None, Some(choice)) => note(&format!(
            "there is no file {}: these are defaults",
            choice.path().display()
        )),
        (None, None) => note("no file is read"),
    }
    let header = ["table", "option", "value", "from"];
    let cells = |row: &Row| cells(row, file.as_ref());
    let printed = session
        .output
        .list("config_option", &header, &rows, cells, "");
    printed.map_err(print_problem)
}

fn rows(
    table: Option<ConfigTable>,
    options: &[OsString],
    file: Option<&ConfigFile>,
) -> Result<Vec<Row>, Problem> {
    let root = Cli::command();
    let refused = |error: clap::Error| usage(&format!("{}.", first_paragraph(&error)));
    let mut rows = Vec::new();
    if table.is_none() {
        let with_file = match file {
            Some(file) => apply(root.clone(), file),
            None => root.clone(),
        };
        let matches = with_file
            .try_get_matches_from(std::env::args_os())
            .map_err(refused)?;
        rows.extend(common_rows(&root, file, &matches));
    }
    let sections = match table {
        None => vec![Section::Serve, Section::Host],
        Some(ConfigTable::Serve) => vec![Section::Serve],
        Some(ConfigTable::Host) => vec![Section::Host],
    };
    for section in sections {
        rows.extend(section_rows(&root, section, file, options).map_err(refused)?);
    }
    Ok(rows)
}

fn cells(row: &Row, file: Option<&ConfigFile>) -> Vec<String> {
    let value = match (&row.value, row.secret) {
        (_, true) => "(set, and not shown)".to_owned(),
        (None, false) => {
            let otherwise = row.otherwise.as_ref();
            otherwise.map_or("-".to_owned(), |text| format!("({text})"))
        }
        (Some(serde_json::Value::String(text)), false) => text.clone(),
        (Some(other), false) => other.to_string(),
    };
    let from = match (row.source, row.line, file) {
        (Source::Default, ..) => "default".to_owned(),
        (Source::Environment, ..) => "environment".to_owned(),
        (Source::CommandLine, ..) => "command line".to_owned(),
        (Source::File, Some(line), Some(file)) => format!("{}:{line}", file.path.display()),
        (Source::File, ..) => "file".to_owned(),
    };
    vec![row.section.to_owned(), row.key.clone(), value, from]
}

fn check(file: Option<PathBuf>, session: &Session) -> Result<(), Problem> {
    let choice = match file {
        Some(file) => Some(Choice::named(file)),
        None => choice(session),
    };
    let Some(choice) = choice else {
        return Err(usage("No file is read, and none was named."));
    };
    let read = choice.read(&Cli::command())?;
    let path = choice.path().display().to_string();
    let set = read.as_ref().map_or(0, |file| file.settings.len());
    let result = json!({ "path": path, "exists": read.is_some(), "set": set });
    let text = || match &read {
        Some(_) => format!("{path} is in order: {set} options are set."),
        None => format!("There is no file {path}: the defaults count."),
    };
    let printed = session.output.result("config_checked", &result, text);
    printed.map_err(print_problem)
}

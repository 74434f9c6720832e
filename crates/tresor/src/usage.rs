//! A command line that cannot be understood. For people clap says it best; for programs that
//! asked for JSON it is a problem like every other one.

use std::ffi::{OsStr, OsString};

use clap::{
    CommandFactory as _, FromArgMatches as _, Parser as _,
    error::{Error, ErrorKind},
};
use tresor_problem::{Kind, Problem};

use crate::{
    args::{Cli, Command, ConfigCommand, OutputFormat},
    config::{self, Choice, ConfigFile},
};

/// What the arguments come to.
pub(crate) enum Parsed {
    /// A command.
    Command(Box<Cli>),
    /// A problem before there is a command: a mistake, for a caller that reads JSON; or what is wrong with the
    /// configuration file.
    Mistake(OutputFormat, Box<Problem>),
    /// Help, the version, or a mistake in clap's own words.
    Text(Error),
}

/// Reads the arguments, the program's name first, and the configuration file where it counts.
pub(crate) fn parse(args: &[OsString], variable: Option<OsString>) -> Parsed {
    let plain = Cli::try_parse_from(args);
    let needs_no_file = match &plain {
        Ok(cli) => is_without_config(&cli.command),
        // Help, and the version.
        Err(error) => !error.use_stderr(),
    };
    let file = match Choice::of(args, variable) {
        Some(choice) if !needs_no_file => choice.read(&Cli::command()),
        _ => Ok(None),
    };
    let parsed = match file {
        Ok(None) => plain,
        Ok(Some(file)) => with_file(args, &file),
        Err(problem) => {
            let format = match wants_json(args) {
                true => OutputFormat::Json,
                false => OutputFormat::Text,
            };
            return Parsed::Mistake(format, Box::new(problem));
        }
    };
    match parsed {
        Ok(cli) => Parsed::Command(Box::new(cli)),
        Err(error) if error.use_stderr() && wants_json(args) => {
            let what = first_paragraph(&error);
            Parsed::Mistake(
                OutputFormat::Json,
                Box::new(Kind::UsageError { what }.into()),
            )
        }
        Err(error) => Parsed::Text(error),
    }
}

fn with_file(args: &[OsString], file: &ConfigFile) -> Result<Cli, Error> {
    let mut matches = config::apply(Cli::command(), file).try_get_matches_from(args)?;
    if let Some(file) = config::without_rivals(file, &matches) {
        matches = config::apply(Cli::command(), &file).try_get_matches_from(args)?;
    }
    Cli::from_arg_matches(&matches)
}

/// Commands that a broken file must not stop: a frozen guest is thawed whatever stands in it, and `config` reads
/// it by itself.
fn is_without_config(command: &Command) -> bool {
    matches!(
        command,
        Command::ThawGuard { .. }
            | Command::Completions { .. }
            | Command::Debug(_)
            | Command::Config(ConfigCommand::Check { .. } | ConfigCommand::Example)
    )
}

/// Whether JSON was asked for, in arguments that clap has refused.
fn wants_json(args: &[OsString]) -> bool {
    let is = |arg: &OsString, text: &str| arg == OsStr::new(text);
    args.iter().any(|arg| is(arg, "--output=json"))
        || args
            .windows(2)
            .any(|pair| is(&pair[0], "--output") && is(&pair[1], "json"))
}

/// Clap's message without its label, its tips and the usage below it, as one line.
pub(crate) fn first_paragraph(error: &Error) -> String {
    if error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        return "No command is given, or a part of it is missing.".to_owned();
    }
    let text = error.render().to_string();
    let text = text.strip_prefix("error: ").unwrap_or(&text);
    let lines = text.lines().take_while(|line| !line.trim().is_empty());
    lines.map(str::trim).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(words: &[&str]) -> Parsed {
        let args: Vec<OsString> = words.iter().map(OsString::from).collect();
        parse(&args, Some(OsString::new()))
    }

    fn mistake(words: &[&str]) -> String {
        match parsed(words) {
            Parsed::Mistake(OutputFormat::Json, problem) => problem.cause.clone(),
            _ => panic!("{words:?} is no mistake for a reader of JSON"),
        }
    }

    #[test]
    fn a_mistake_is_a_problem_where_json_was_asked_for() {
        let unknown = mistake(&["tresor", "--output", "json", "vm", "list", "--frob"]);
        assert_eq!(unknown, "unexpected argument '--frob' found");
        let missing = mistake(&["tresor", "restore", "latest:vm", "--output=json"]);
        assert!(missing.ends_with("--to <DIR>"), "{missing}");
        assert!(mistake(&["tresor", "--output", "json", "vm"]).starts_with("No command"));
        assert!(matches!(
            parsed(&["tresor", "vm", "list", "--frob"]),
            Parsed::Text(_)
        ));
    }

    #[test]
    fn help_and_version_are_text_and_no_mistake() {
        for word in ["--help", "--version"] {
            let Parsed::Text(error) = parsed(&["tresor", "--output", "json", word]) else {
                panic!("{word} is not shown");
            };
            assert_eq!(error.exit_code(), 0);
        }
    }
}

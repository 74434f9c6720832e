//! A command line that cannot be understood. For people clap says it best; for programs that
//! asked for JSON it is a problem like every other one.

use std::ffi::{OsStr, OsString};

use clap::{
    Parser as _,
    error::{Error, ErrorKind},
};
use tresor_problem::{Kind, Problem};

use crate::args::Cli;

/// What the arguments come to.
pub(crate) enum Parsed {
    /// A command.
    Command(Box<Cli>),
    /// A mistake, for a caller that reads JSON.
    Mistake(Box<Problem>),
    /// Help, the version, or a mistake in clap's own words.
    Text(Error),
}

/// Reads the arguments, the program's name first.
pub(crate) fn parse(args: &[OsString]) -> Parsed {
    match Cli::try_parse_from(args) {
        Ok(cli) => Parsed::Command(Box::new(cli)),
        Err(error) if error.use_stderr() && wants_json(args) => {
            let what = first_paragraph(&error);
            Parsed::Mistake(Box::new(Kind::UsageError { what }.into()))
        }
        Err(error) => Parsed::Text(error),
    }
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
fn first_paragraph(error: &Error) -> String {
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
        parse(&args)
    }

    fn mistake(words: &[&str]) -> String {
        match parsed(words) {
            Parsed::Mistake(problem) => problem.cause.clone(),
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

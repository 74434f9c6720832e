//! The file with every option: what it is for, what it may be, its default. Made from the command line's help.

use clap::Command;

use super::{
    effective::otherwise,
    options::{FileOption, Section, Shape, options},
};

/// Columns of a comment.
const WIDTH: usize = 110;

const HEAD: &str = "\
# Tresor's configuration: every option with its default. docs/config.md says how it is read.
#
# The command line beats the environment, the environment beats this file, and this file beats the defaults.
# `tresor config check FILE` says what is wrong in a file, `tresor config show` what counts.
";

/// The whole file, with every option as a comment.
pub(crate) fn example(root: &Command) -> String {
    let mut text = HEAD.to_owned();
    let options = options(root);
    for section in Section::ALL {
        let about = section.command(root).and_then(Command::get_about);
        let about = about.map(ToString::to_string).unwrap_or_default();
        match section {
            Section::Common => text.push_str("\n# ---- every command\n"),
            Section::Serve | Section::Host => {
                let name = section.name();
                let title = format!("---- tresor {name}: {about}");
                text.push_str(&format!("\n{}[{name}]\n", comment(&title)));
            }
        }
        for option in options.iter().filter(|option| option.section == section) {
            text.push('\n');
            text.push_str(&entry(option));
        }
    }
    text
}

fn entry(option: &FileOption) -> String {
    let mut help = option
        .arg
        .get_help()
        .map(ToString::to_string)
        .unwrap_or_default();
    if let Some((before, _)) = help.split_once(" [default: ") {
        help.truncate(before.len());
    }
    let mut text = comment(&sentence(&help));
    let valid: Vec<_> = option
        .arg
        .get_possible_values()
        .iter()
        .map(|value| value.get_name().to_owned())
        .collect();
    if !valid.is_empty() {
        text.push_str(&comment(&format!("One of: {}.", valid.join(", "))));
    }
    let mut also = format!("On the command line: --{}", option.long());
    if let Some(variable) = option.arg.get_env() {
        also.push_str(&format!(
            "; in the environment: {}",
            variable.to_string_lossy()
        ));
    }
    text.push_str(&comment(&format!("{also}.")));
    if let Some(otherwise) = otherwise(option) {
        text.push_str(&comment(&format!("Without it: {otherwise}.")));
    }
    text.push_str(&format!("#{} = {}\n", option.key, value(option)));
    text
}

fn sentence(text: &str) -> String {
    let text = text.trim_end();
    if text.ends_with(['.', '!', '?']) {
        text.to_owned()
    } else {
        format!("{text}.")
    }
}

/// The default, or the value's name where there is none.
fn value(option: &FileOption) -> String {
    let quoted = |word: &str| toml::Value::String(word.to_owned()).to_string();
    let defaults = option.arg.get_default_values().iter();
    let defaults: Vec<String> = defaults
        .map(|word| quoted(&word.to_string_lossy()))
        .collect();
    let named = option.arg.get_value_names().and_then(<[_]>::first);
    let named = named.map(|name| quoted(name)).unwrap_or_default();
    match (option.shape(), defaults.as_slice()) {
        (Shape::Switch, _) => "false".to_owned(),
        (Shape::List, []) => format!("[{named}]"),
        (Shape::List, _) => format!("[{}]", defaults.join(", ")),
        (Shape::Text, [default, ..]) => default.clone(),
        (Shape::Text, []) => named,
    }
}

/// Lines of a comment, broken between words.
fn comment(text: &str) -> String {
    let mut lines = String::new();
    let mut line = "#".to_owned();
    for word in text.split_whitespace() {
        if line.chars().count() + 1 + word.chars().count() > WIDTH {
            lines.push_str(&line);
            lines.push('\n');
            "#".clone_into(&mut line);
        }
        line.push(' ');
        line.push_str(word);
    }
    lines + &line + "\n"
}

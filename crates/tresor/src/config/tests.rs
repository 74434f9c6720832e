//! The file, by the options that the program really has.

use std::path::Path;

use clap::{CommandFactory as _, FromArgMatches as _, parser::ValueSource};
use tresor_problem::Problem;

use super::{options::LEFT_OUT, *};
use crate::args::{Cli, Command as Verb};

fn root() -> Command {
    Cli::command()
}

fn file(text: &str) -> ConfigFile {
    ConfigFile {
        path: "tresor.toml".into(),
        settings: file::parse(text, &root()).unwrap(),
    }
}

/// The mistakes as a reader sees them.
fn wrong(text: &str) -> Vec<String> {
    let defects = file::parse(text, &root()).unwrap_err();
    let told = defects.into_iter();
    told.map(|defect| format!("{}: {}", defect.line, defect.wrong))
        .collect()
}

fn serve(text: &str, words: &[&str]) -> crate::args::ServeArgs {
    let words = ["tresor", "serve"].iter().chain(words);
    let matches = apply(root(), &file(text)).get_matches_from(words);
    match Cli::from_arg_matches(&matches).unwrap().command {
        Verb::Serve(args) => *args,
        other => panic!("{other:?}"),
    }
}

#[test]
fn every_option_of_serve_and_host_is_in_the_file_or_has_a_reason() {
    let text = example(&root());
    for section in Section::TABLES {
        let command = section.command(&root()).cloned().unwrap();
        for arg in command.get_arguments() {
            let long = arg.get_long().expect("an option without a long name");
            let key = long.replace('-', "_");
            let reason = LEFT_OUT
                .iter()
                .any(|left| left.0 == section && left.1 == long);
            let table = text.split(&format!("\n[{}]\n", section.name())).nth(1);
            let table = table.unwrap().split("\n[").next().unwrap();
            let shown = table.contains(&format!("\n#{key} = "));
            assert!(shown != reason, "{} {key}", section.name());
            assert!(arg.get_help().is_some(), "{key} has no help");
        }
    }
    for (section, long, _) in LEFT_OUT {
        let command = section.command(&root()).cloned().unwrap();
        let mut args = command.get_arguments();
        assert!(args.any(|arg| arg.get_long() == Some(long)), "{long}");
    }
}

/// The lines of options in the example that have a default, which stands there as it is.
fn defaults_of_the_example() -> String {
    let all = options::options(&root());
    let mut text = String::new();
    for section in Section::ALL {
        if section != Section::Common {
            text.push_str(&format!("[{}]\n", section.name()));
        }
        let ours = all.iter().filter(|option| option.section == section);
        for option in ours.filter(|option| !option.arg.get_default_values().is_empty()) {
            let start = format!("#{} = ", option.key);
            let example = example(&root());
            let mut lines = example.lines().filter(|line| line.starts_with(&start));
            text.push_str(&lines.next_back().unwrap()[1..]);
            text.push('\n');
        }
    }
    text
}

#[test]
fn the_example_is_a_file_and_its_defaults_are_the_defaults() {
    assert_eq!(file(&example(&root())).settings, []);
    let with = serve(&defaults_of_the_example(), &[]);
    assert_eq!(format!("{with:?}"), format!("{:?}", serve("", &[])));
}

#[test]
fn the_command_line_beats_the_file_and_the_file_beats_the_default() {
    let text = "[serve]\nstart_gap = \"5s\"\ngrace = \"3m\"\ndiscover = [\"/a\", \"/b\"]\n";
    let args = serve(text, &["--grace", "7m", "--discover", "/c"]);
    assert_eq!(args.start_gap.seconds(), 5);
    assert_eq!(args.grace.seconds(), 420);
    assert_eq!(args.discover, ["/c"], "a list is replaced, not added to");
    assert_eq!(serve(text, &[]).discover, ["/a", "/b"]);
    let none: [String; 0] = [];
    assert_eq!(serve("[serve]\ndiscover = []\n", &[]).discover, none);
}

#[test]
fn an_option_that_must_be_given_may_be_given_by_the_file() {
    let text = "[host]\nserver = \"https://tresor.example.org:7440\"\n";
    let matches = apply(root(), &file(text)).try_get_matches_from(["tresor", "host"]);
    let cli = Cli::from_arg_matches(&matches.unwrap()).unwrap();
    let Verb::Host(args) = cli.command else {
        panic!("no host");
    };
    assert!(args.server.to_string().contains("tresor.example.org"));
}

#[test]
fn a_mistake_is_told_with_its_line_and_what_would_be_right() {
    for (text, expected) in [
        (
            "[serve]\nlistne = \"1\"\n",
            "2: there is no option `serve.listne`: `serve.listen` may be meant",
        ),
        (
            "[serve]\nstart-gap = \"1s\"\n",
            "2: there is no option `serve.start-gap`: `serve.start_gap` may be meant",
        ),
        (
            "[serve]\nserver = \"x\"\n",
            "2: there is no option `serve.server`: `server` belongs below `[host]`",
        ),
        (
            "listen = \"x\"\n",
            "1: there is no option `listen`: `listen` belongs below `[serve]`",
        ),
        (
            "[host]\nstate_dir = \"x\"\n",
            "2: there is no option `host.state_dir`: `state_dir` belongs above all tables",
        ),
        (
            "[hosts]\n",
            "1: there is no table `[hosts]`: `[host]` may be meant",
        ),
        ("[retention]\n", "1: there is no option `retention`"),
        ("serve = 3\n", "1: `serve` is a table: write `[serve]`"),
        (
            "[serve]\n\ngrace = 60\n",
            "3: `serve.grace` is a number: it has to be a text in quotes",
        ),
        (
            "[serve]\ndiscover = \"/a\"\n",
            "2: `serve.discover` is a text: it has to be a list of texts, as [\"one\", \"two\"]",
        ),
        (
            "[serve]\ndiscover = [1]\n",
            "2: `serve.discover` is a list, with something in it that is no text: it has to be a list of texts, as [\"one\", \"two\"]",
        ),
        (
            "[serve]\nlisten = \"localhost\"\n",
            "2: `serve.listen` (ADDRESS:PORT) cannot be \"localhost\": invalid socket address syntax",
        ),
        (
            "log_format = \"xml\"\n",
            "1: `log_format` (FORMAT) cannot be \"xml\": it is one of text, json",
        ),
        (
            "[host]\ntoken = \"x\"\n",
            "2: `host.token` cannot stand here: a token is a secret that is used once: token_file names a file with it",
        ),
    ] {
        assert_eq!(wrong(text), [expected], "{text}");
    }
}

#[test]
fn all_mistakes_are_told_at_once_in_the_order_of_their_lines() {
    let told = wrong("[serve]\nzzz = 1\ngrace = \"soon\"\n[host]\nserver = 4\n");
    let lines: Vec<_> = told.iter().map(|wrong| &wrong[..2]).collect();
    assert_eq!(lines, ["2:", "3:", "5:"], "{told:?}");
    let told = wrong("[serve]\ngrace = \n");
    assert!(told[0].starts_with("2: "), "{told:?}");
}

#[test]
fn a_secret_is_not_repeated() {
    let rows = section_rows(
        &root(),
        Section::Serve,
        Some(&file("[serve]\nheartbeat_url = \"https://x/secret\"\n")),
        &[],
    );
    let rows = rows.unwrap();
    let row = rows.iter().find(|row| row.key == "heartbeat_url").unwrap();
    assert!(row.secret && row.value.is_none() && row.source == Source::File);
}

#[test]
fn rows_say_where_a_value_comes_from() {
    let given = file("[serve]\ngrace = \"3m\"\nzone = \"Europe/Berlin\"\n");
    let words = ["--grace".into(), "9m".into()];
    let rows = section_rows(&root(), Section::Serve, Some(&given), &words).unwrap();
    let row = |key: &str| rows.iter().find(|row| row.key == key).unwrap();
    assert_eq!(row("grace").source, Source::CommandLine);
    assert_eq!(row("grace").value, Some("9m".into()));
    assert_eq!(
        (row("zone").source, row("zone").line),
        (Source::File, Some(3))
    );
    assert_eq!(row("listen").source, Source::Default);
    let restore = row("restore_dir");
    assert_eq!(restore.value, None);
    let otherwise = restore.otherwise.as_deref().unwrap();
    assert!(otherwise.contains("state directory"), "{otherwise}");
    let host = section_rows(&root(), Section::Host, None, &[]).unwrap();
    assert!(
        host.iter()
            .any(|row| row.key == "server" && row.value.is_none())
    );
}

#[test]
fn a_database_given_by_hand_beats_the_file_with_one() {
    let given = file("database_file = \"/etc/tresor/database\"\n");
    let words = ["tresor", "--database", "postgres://db/x", "vm", "list"];
    let matches = apply(root(), &given).get_matches_from(words);
    assert_eq!(without_rivals(&given, &matches).unwrap().settings, []);
    let matches = apply(root(), &given).get_matches_from(["tresor", "vm", "list"]);
    let file = leaf(&matches).value_source("database_file");
    assert_eq!(file, Some(ValueSource::DefaultValue));
    assert_eq!(without_rivals(&given, &matches), None);
}

#[test]
fn which_file_is_read() {
    let of = |words: &[&str], variable: Option<&str>| {
        let words: Vec<OsString> = words.iter().map(OsString::from).collect();
        let choice = Choice::of(&words, variable.map(OsString::from));
        choice.map(|choice| (choice.path.display().to_string(), choice.named))
    };
    let named = |path: &str| Some((path.to_owned(), true));
    assert_eq!(of(&["t", "serve"], None), Some((DEFAULT.to_owned(), false)));
    assert_eq!(of(&["t", "--config", "a", "serve"], Some("b")), named("a"));
    assert_eq!(of(&["t", "serve", "--config=a"], None), named("a"));
    assert_eq!(of(&["t", "serve"], Some("b")), named("b"));
    assert_eq!(of(&["t", "serve"], Some("")), None);
    assert_eq!(of(&["t", "x", "--", "--config=a"], Some("")), None);
}

#[test]
fn a_file_that_is_not_there_matters_only_where_it_was_named() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("none.toml");
    let read = |path: &Path, named| ConfigFile::read(path, named, &root());
    assert_eq!(read(&path, false), Ok(None));
    let code = |problem: Problem| problem.code;
    assert_eq!(code(read(&path, true).unwrap_err()), "ConfigUnreadable");
    assert_eq!(
        code(read(dir.path(), false).unwrap_err()),
        "ConfigUnreadable"
    );
    std::fs::write(&path, "#".repeat((1 << 20) + 1)).unwrap();
    assert_eq!(code(read(&path, true).unwrap_err()), "ConfigUnreadable");
    std::fs::write(&path, "x = 1\n").unwrap();
    assert_eq!(code(read(&path, true).unwrap_err()), "ConfigInvalid");
}

/// The page and the file of the package are the program's own words.
#[test]
fn what_is_packaged_and_documented_is_current() {
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let text = example(&root());
    let packaged = repository.join("packaging/tresor.toml");
    let page = repository.join("docs/config.md");
    let document = std::fs::read_to_string(&page).unwrap();
    let (before, rest) = document.split_once("```toml\n# Tresor's").unwrap();
    let (_, after) = rest.split_once("```\n").unwrap();
    let expected = format!("{before}```toml\n{text}```\n{after}");
    if std::env::var_os("TRESOR_WRITE_DOCS").is_some() {
        std::fs::write(&packaged, &text).unwrap();
        std::fs::write(&page, &expected).unwrap();
    }
    let again = "is not current: run this test with TRESOR_WRITE_DOCS=1";
    let have = std::fs::read_to_string(&packaged).unwrap_or_default();
    assert!(have == text, "packaging/tresor.toml {again}");
    let have = std::fs::read_to_string(&page).unwrap();
    assert!(have == expected, "docs/config.md {again}");
}

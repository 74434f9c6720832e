//! The configuration file: it counts, in its place, and what is wrong in it is said.

use serde_json::Value;
use tokio::{io::AsyncReadExt as _, process::Command};

use crate::{
    lab::{Lab, Run, finish},
    running::signal,
    service::serving,
};

/// The program with a configuration file, and with what else is set for it.
async fn run_with(lab: &Lab, text: &str, more: &[(&str, &str)], args: &[&str]) -> Run {
    let mut command = with(lab, text, args);
    command.envs(more.iter().copied());
    finish(args, command.spawn().unwrap()).await
}

fn with(lab: &Lab, text: &str, args: &[&str]) -> Command {
    let path = lab.path("tresor.toml");
    std::fs::write(&path, text).unwrap();
    let mut command = lab.command(args);
    command.env("TRESOR_CONFIG", path);
    command
}

fn option<'a>(rows: &'a [Value], table: &str, key: &str) -> &'a Value {
    let mut rows = rows.iter();
    let found = rows.find(|row| row["section"] == table && row["key"] == key);
    found.unwrap_or_else(|| panic!("{table}.{key} is not shown"))
}

#[tokio::test]
async fn a_service_works_as_its_file_says_unless_the_command_line_says_otherwise() {
    let lab = Lab::new().await;
    let text = "[serve]\nlisten = \"127.0.0.1:0\"\nheartbeat_url = \"file:///x\"\n";
    let refused = run_with(&lab, text, &[], &["serve"]).await;
    let problem = refused.raises("UsageError");
    let cause = problem["cause"].as_str().unwrap();
    assert!(cause.contains("heartbeat"), "the file counts: {cause}");

    let text = "[serve]\nlisten = \"127.0.0.2:0\"\ngrace = \"1s\"\n";
    for (args, wanted) in [
        (vec!["serve"], "127.0.0.2:"),
        (vec!["serve", "--listen", "127.0.0.3:0"], "127.0.0.3:"),
    ] {
        let mut child = with(&lab, text, &args).spawn().unwrap();
        let told = serving(&mut child).await;
        let address = told["address"].as_str().unwrap();
        assert!(address.starts_with(wanted), "{told}");
        signal(child.id().unwrap(), "TERM");
        assert!(child.wait().await.unwrap().success());
    }
}

#[tokio::test]
async fn the_catalog_of_the_file_is_every_command_s() {
    let lab = Lab::new().await;
    let elsewhere = lab.path("elsewhere");
    let text = format!("state_dir = \"{}\"\n", elsewhere.display());
    let path = lab.path("tresor.toml");
    std::fs::write(&path, &text).unwrap();
    let plain = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tresor"));
        command.env_remove("TRESOR_STATE_DIR").args(["--config"]);
        command.arg(&path).args(["vault", "list"]);
        command
    };
    assert!(plain().status().await.unwrap().success());
    assert!(elsewhere.join("catalog.db").exists());
    let by_hand = lab.path("by-hand");
    let mut command = plain();
    command.env("TRESOR_STATE_DIR", &by_hand);
    assert!(command.status().await.unwrap().success());
    assert!(by_hand.join("catalog.db").exists(), "the environment wins");
}

#[tokio::test]
async fn a_mistake_in_the_file_stops_what_reads_it() {
    let lab = Lab::without_vault();
    let text = "[serve]\ngrase = \"5m\"\nstart_gap = 3\n";
    let problem = run_with(&lab, text, &[], &["vault", "list"]).await;
    let problem = problem.raises("ConfigInvalid");
    let cause = problem["cause"].as_str().unwrap();
    assert!(
        cause.contains("tresor.toml, line 2: there is no option `serve.grase`: `serve.grace`"),
        "{cause}"
    );
    assert!(
        cause.contains("line 3: `serve.start_gap` is a number"),
        "{cause}"
    );
    let check = run_with(&lab, text, &[], &["config", "check"]).await;
    check.raises("ConfigInvalid");
    let none = [("TRESOR_CONFIG", "/nowhere/tresor.toml")];
    let missing = run_with(&lab, "", &none, &["vault", "list"]).await;
    missing.raises("ConfigUnreadable");
    // For people it is said as every problem is.
    let mut told = lab.text_command(&["vault", "list"]);
    told.env("TRESOR_CONFIG", "/nowhere/tresor.toml");
    let mut told = told.spawn().unwrap();
    let mut text = String::new();
    let mut stderr = told.stderr.take().unwrap();
    stderr.read_to_string(&mut text).await.unwrap();
    assert!(text.contains("[ConfigUnreadable]"), "{text}");
    assert_eq!(told.wait().await.unwrap().code(), Some(2));
    // Help needs no file, nor does what thaws a guest.
    for args in [&["serve", "--help"][..], &["completions", "bash"]] {
        assert!(
            run_with(&lab, text_of_garbage(), &[], args)
                .await
                .succeeded()
        );
    }
}

fn text_of_garbage() -> &'static str {
    "[[["
}

#[tokio::test]
async fn what_counts_is_shown_with_where_it_comes_from_and_secrets_are_not() {
    let lab = Lab::without_vault();
    let text = "database = \"postgres://tresor:hidden@db/tresor\"\n[serve]\ngrace = \"3m\"\n\
                [host]\nserver = \"https://a.example:7440\"\n";
    let more = [
        ("TRESOR_SERVER", "https://b.example:7440"),
        ("TRESOR_HEARTBEAT_URL", "https://c.example/hidden"),
    ];
    let shown = run_with(&lab, text, &more, &["config", "show"]).await;
    let rows = shown.rows();
    assert!(!format!("{rows:?}").contains("hidden"));
    for (table, key, source, value) in [
        (
            "",
            "state_dir",
            "command_line",
            lab.state().to_str().unwrap().into(),
        ),
        ("", "database", "file", Value::Null),
        ("", "log_format", "default", "text".into()),
        ("serve", "grace", "file", "3m".into()),
        ("serve", "start_gap", "default", "60s".into()),
        ("serve", "heartbeat_url", "environment", Value::Null),
        (
            "host",
            "server",
            "environment",
            "https://b.example:7440".into(),
        ),
    ] {
        let row = option(&rows, table, key);
        assert_eq!(
            (&row["source"], &row["value"]),
            (&source.into(), &value),
            "{row}"
        );
    }
    assert_eq!(option(&rows, "serve", "grace")["line"], 3);
    let start = ["config", "show", "serve", "--", "--grace", "9m"];
    let rows = run_with(&lab, text, &more, &start).await.rows();
    assert_eq!(option(&rows, "serve", "grace")["source"], "command_line");
    let checked = run_with(&lab, text, &[], &["config", "check"]).await.ok();
    assert_eq!(checked["set"], 3);
}

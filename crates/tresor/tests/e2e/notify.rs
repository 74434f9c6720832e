//! People are told, and a dead service is missed: `tresor notify`, `--heartbeat-url`, `/metrics`.

use std::{os::unix::fs::PermissionsExt as _, path::PathBuf};

use serde_json::{Value, json};
use tokio::process::Child;
use tresor_testkit::sinks::{HttpSink, MAIL_PASSWORD, MAIL_USER, MailSink, MailTls};

use crate::lab::Lab;

fn secret(lab: &Lab, name: &str, text: &str, mode: u32) -> PathBuf {
    let path = lab.path(name);
    std::fs::write(&path, text).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
    path
}

#[tokio::test]
async fn a_channel_is_added_tried_and_removed_and_its_secrets_are_never_shown() {
    let lab = Lab::without_vault();
    let sink = HttpSink::start().await.unwrap();
    let url = format!("{}/services/hush", sink.url());
    let key = secret(&lab, "key", "open sesame\n", 0o600);
    let key = key.to_str().unwrap();
    let add = [
        "notify",
        "add",
        "webhook",
        "ops",
        "--url",
        &url,
        "--secret-file",
        key,
    ];
    lab.run(&add).await.ok();
    lab.run(&add).await.raises("ObjectExists");
    lab.run(&["notify", "test", "ops"]).await.ok();
    let heard = sink.heard().remove(0);
    let body: Value = serde_json::from_str(&heard.body).unwrap();
    assert_eq!(
        (&body["events"][0]["event"], &body["events"][0]["subject"]),
        (&json!("test"), &json!("ops"))
    );
    assert!(heard.headers.contains_key("tresor-signature"));

    let listed = lab.run(&["notify", "list"]).await.rows();
    let text = listed[0].to_string();
    assert!(!text.contains("hush") && !text.contains("sesame"), "{text}");
    assert!(listed[0]["last_sent_at"].is_string() && listed[0]["has_secret"] == true);

    drop(sink);
    let problem = lab
        .run(&["notify", "test", "ops"])
        .await
        .raises("NotificationFailed");
    assert!(!problem.to_string().contains("hush"), "{problem}");
    lab.run(&["notify", "remove", "ops"]).await.ok();
    lab.run(&["notify", "remove", "ops"])
        .await
        .raises("ObjectNotFound");

    let open = secret(&lab, "open", "x", 0o644);
    let unsafe_file = [
        "notify",
        "add",
        "webhook",
        "x",
        "--url",
        &url,
        "--secret-file",
        open.to_str().unwrap(),
    ];
    lab.run(&unsafe_file).await.raises("VaultKeyFileUnsafe");
    for bad in [
        [
            "notify",
            "add",
            "webhook",
            "x",
            "--url",
            "file:///etc/passwd",
        ],
        ["notify", "add", "webhook", "a/b", "--url", &url],
    ] {
        lab.run(&bad).await.raises("UsageError");
    }
}

#[tokio::test]
async fn a_mail_goes_by_tls_to_a_server_whose_authority_the_machine_knows() {
    let lab = Lab::without_vault();
    let authority = lab.path("authority.pem");
    let sink = MailSink::start(0, MailTls::Starttls(&authority)).unwrap();
    let password = secret(&lab, "password", MAIL_PASSWORD, 0o600);
    let port = sink.port().to_string();
    let add = [
        "notify",
        "add",
        "mail",
        "admins",
        "--smtp-server",
        "localhost",
        "--port",
        &port,
        "--user",
        MAIL_USER,
        "--password-file",
        password.to_str().unwrap(),
        "--from",
        "tresor@example.org",
        "--to",
        "ops@example.org",
    ];
    lab.run(&add).await.ok();
    let problem = lab
        .run(&["notify", "test", "admins"])
        .await
        .raises("NotificationFailed");
    assert!(
        problem["cause"].as_str().unwrap().contains("localhost"),
        "{problem}"
    );
    assert!(
        !sink.has_more(),
        "nothing goes to who cannot prove who it is"
    );

    let mut command = lab.command(&["notify", "test", "admins"]);
    let output = command
        .env("SSL_CERT_FILE", &authority)
        .output()
        .await
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let mail = sink.next().unwrap();
    assert_eq!(
        (&mail["tls"], &mail["user"]),
        (&json!(true), &json!("tresor"))
    );
    assert!(
        mail["text"]
            .as_str()
            .unwrap()
            .contains("a test of the channel admins")
    );
}

/// Starts the service; it says where it listens, and the first token.
async fn serve(lab: &Lab, url: &str) -> (Child, Value) {
    use tokio::io::{AsyncBufReadExt as _, BufReader};
    let args = [
        "serve",
        "--listen",
        "127.0.0.1:0",
        "--heartbeat-url",
        url,
        "--heartbeat-every",
        "1s",
        "--log-format",
        "json",
    ];
    let mut child = lab.command(&args).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let line = lines
        .next_line()
        .await
        .unwrap()
        .expect("it says where it is");
    (child, serde_json::from_str(&line).unwrap())
}

#[tokio::test]
async fn a_service_beats_until_it_is_killed_and_shows_its_metrics() {
    let lab = Lab::without_vault();
    let sink = HttpSink::start().await.unwrap();
    let url = format!("{}/ping/id", sink.url());
    let (mut service, said) = serve(&lab, &url).await;
    let heard = sink.heard_at_least(3).await.unwrap();
    assert!(
        heard
            .iter()
            .all(|call| call.method == "GET" && call.path == "/ping/id"),
        "{heard:?}"
    );

    let text = scrape(&lab, &said).await;
    assert!(text.contains("\ntresor_scheduler_leads 1\n"), "{text}");
    assert!(
        text.contains("\ntresor_items{standing=\"late\"} 0\n"),
        "{text}"
    );

    service.start_kill().unwrap();
    service.wait().await.unwrap();
    // A call may be under way still; whoever is dead makes no further ones.
    let after = sink.heard().len();
    tokio::time::sleep(std::time::Duration::from_secs(3)).await;
    assert!(sink.heard().len() <= after + 1, "silence");
}

async fn scrape(lab: &Lab, said: &Value) -> String {
    let token = said["admin_token"].as_str().unwrap();
    let port = said["address"]
        .as_str()
        .unwrap()
        .rsplit(':')
        .next()
        .unwrap();
    let mut curl = tokio::process::Command::new("curl");
    curl.args(["--silent", "--show-error", "--fail", "--cacert"])
        .arg(lab.state().join("identity/ca.crt"))
        .args(["--header", &format!("Authorization: Bearer {token}")])
        .arg(format!("https://localhost:{port}/metrics"));
    let output = curl.output().await.unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

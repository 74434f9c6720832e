//! Real servers on the loopback are sent to.

#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests, outside of test functions"
)]

use serde_json::{Value, json};
use tresor_model::NotificationId;
use tresor_notify::{Event, EventKind, Message, SendError, Sender, Settings};
use tresor_problem::{Kind, Problem};
use tresor_testkit::sinks::{Answering, HttpSink, MAIL_PASSWORD, MAIL_USER, MailSink, MailTls};

const HOSTILE: &str = "web\r\nBcc: all@example.org\r\n\r\n<script>alert(1)</script>";

fn failed(subject: &str) -> Message {
    let vm = subject.to_owned();
    let event = Event {
        id: NotificationId::generate(),
        at: "2026-03-02T03:04:05Z".parse().unwrap(),
        kind: EventKind::BackupFailed,
        subject: subject.to_owned(),
        problem: Some(Problem::from(Kind::VmNotFound { vm })),
        since: None,
        lines: Vec::new(),
    };
    Message::new(vec![event]).unwrap()
}

fn settings(way: &Value) -> Settings {
    serde_json::from_value(json!({ "way": way })).unwrap()
}

fn hook(sink: &HttpSink) -> Settings {
    settings(&json!({"webhook": {"url": format!("{}/services/hush", sink.url())}}))
}

fn mail(port: u16, more: &Value) -> Settings {
    let mut mail = json!({"server": "127.0.0.1", "port": port, "from": "Tresor <tresor@example.org>",
        "to": ["ops@example.org", "Two <two@example.org>"], "tls": "none"});
    let members = more.as_object().unwrap().clone();
    mail.as_object_mut().unwrap().extend(members);
    settings(&json!({ "mail": mail }))
}

#[tokio::test]
async fn a_webhook_is_signed_and_its_refusal_is_told_without_the_urls_path() {
    let sink = HttpSink::start().await.unwrap();
    let (sender, hook) = (Sender::new().unwrap(), hook(&sink));
    let message = failed(HOSTILE);
    sender.send(&hook, Some("key"), &message).await.unwrap();
    let heard = sink.heard().remove(0);
    assert_eq!(
        (heard.method.as_str(), heard.path.as_str()),
        ("POST", "/services/hush")
    );
    assert_eq!(heard.headers["content-type"], "application/json");
    let signature = heard.headers["tresor-signature"].to_str().unwrap();
    let time = heard.headers["tresor-timestamp"].to_str().unwrap();
    assert_eq!(signature, openssl(&format!("{time}.{}", heard.body)));
    let body: Value = serde_json::from_str(&heard.body).unwrap();
    assert_eq!(
        body["events"][0]["subject"], HOSTILE,
        "JSON keeps it as it is"
    );

    sender.send(&hook, None, &message).await.unwrap();
    assert!(!sink.heard()[1].headers.contains_key("tresor-signature"));
    sink.answer(Answering::Status(503));
    let error = sender.send(&hook, None, &message).await.unwrap_err();
    assert!(matches!(error, SendError::Refused { .. }), "{error}");
    assert!(
        error.to_string().contains("503") && !error.to_string().contains("hush"),
        "{error}"
    );
    // Where it is sent on to is not gone to.
    sink.answer(Answering::Status(307));
    sender.send(&hook, None, &message).await.unwrap_err();
    drop(sink);
    let error = sender.send(&hook, None, &message).await.unwrap_err();
    assert!(matches!(error, SendError::Unreachable { .. }), "{error}");
    assert!(!error.to_string().contains("hush"), "{error}");
}

/// The signature by somebody else's program.
fn openssl(signed: &str) -> String {
    use std::{
        io::Write as _,
        process::{Command, Stdio},
    };
    let mut child = Command::new("openssl")
        .args(["dgst", "-sha256", "-hmac", "key", "-r"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    input.write_all(signed.as_bytes()).unwrap();
    drop(input);
    let output = child.wait_with_output().unwrap().stdout;
    let hex = String::from_utf8(output).unwrap();
    format!("sha256={}", hex.split_whitespace().next().unwrap())
}

#[tokio::test]
async fn a_mail_arrives_in_plain_text_whatever_a_vm_is_called() {
    let sink = MailSink::start(0, MailTls::None).unwrap();
    let sender = Sender::new().unwrap();
    let login = json!({"user": MAIL_USER});
    let message = failed(HOSTILE);
    let by = mail(sink.port(), &login);
    sender
        .send(&by, Some(MAIL_PASSWORD), &message)
        .await
        .unwrap();
    let got = sink.next().unwrap();
    assert_eq!(got["to"], json!(["ops@example.org", "two@example.org"]));
    assert_eq!(
        (&got["from"], &got["user"]),
        (&json!("tresor@example.org"), &json!("tresor"))
    );
    let text = got["text"].as_str().unwrap();
    let (headers, body) = text.split_once("\r\n\r\n").unwrap();
    let names = headers.lines().filter_map(|line| line.split_once(':'));
    let names: Vec<_> = names.map(|(name, _)| name.to_ascii_lowercase()).collect();
    assert!(!names.contains(&"bcc".to_owned()), "{headers}");
    assert!(headers.contains("Content-Type: text/plain"), "{headers}");
    assert!(
        body.contains("What to do:") && body.contains("[VmNotFound]"),
        "{body}"
    );

    let error = sender.send(&by, Some("wrong"), &message).await.unwrap_err();
    assert!(matches!(error, SendError::Refused { .. }), "{error}");
    assert!(!error.to_string().contains("wrong"), "{error}");
    assert!(!sink.has_more());
}

#[tokio::test]
async fn a_mail_server_without_tls_gets_nothing_where_tls_is_asked_for() {
    let sink = MailSink::start(0, MailTls::None).unwrap();
    let sender = Sender::new().unwrap();
    let by = mail(sink.port(), &json!({"tls": "starttls", "user": MAIL_USER}));
    let sent = sender
        .send(&by, Some(MAIL_PASSWORD), &failed("web01"))
        .await;
    sent.unwrap_err();
    assert!(!sink.has_more());
}

#[tokio::test]
async fn a_heartbeat_is_a_get_and_what_is_at_risk_is_posted_to_fail() {
    let sink = HttpSink::start().await.unwrap();
    let sender = Sender::new().unwrap();
    let url = format!("{}/ping/id", sink.url());
    sender.heartbeat(&url, None).await.unwrap();
    sender.heartbeat(&url, Some("db01\r\nX: y")).await.unwrap();
    let heard = sink.heard();
    let calls: Vec<_> = heard
        .iter()
        .map(|heard| (heard.method.as_str(), heard.path.as_str()))
        .collect();
    assert_eq!(calls, [("GET", "/ping/id"), ("POST", "/ping/id/fail")]);
    assert_eq!(heard[1].body, "db01  X: y");
}

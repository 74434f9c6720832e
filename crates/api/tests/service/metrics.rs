//! `/metrics`, what is made of it, and its documents. promtool is Prometheus' own judge.

#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests, outside of test functions"
)]

use std::{
    collections::BTreeSet,
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use tresor_api::{METRICS, MetricKind, metrics_page};
use tresor_catalog::{RunEnd, TokenRole};
use tresor_jobs::{
    JobEvent, JobLog as _, JobQueue as _, NewJob, Owner, RecordedEvent, SubTaskSpec, Ticket,
};
use tresor_model::{JobId, JobKind, JobState};
use tresor_problem::{Kind, Problem};

use super::support::{Answered, Service};

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Runs promtool; `cargo xtask setup` has brought it.
fn promtool(args: &[&str], input: &str) {
    let program = repository().join("target/guest/prometheus/usr/bin/promtool");
    let child = Command::new(&program)
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut child = child.unwrap_or_else(|error| panic!("{}: {error}", program.display()));
    let mut pipe = child.stdin.take().unwrap();
    let wrote = pipe.write_all(input.as_bytes());
    drop(pipe);
    let output = child.wait_with_output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    assert!(output.status.success(), "{said}");
    wrote.unwrap();
}

async fn scrape(service: &Service) -> String {
    let token = service.token(TokenRole::Reader).await;
    let answer: Answered = service.get(&token, "/metrics").await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(
        answer.headers["content-type"],
        "text/plain; version=0.0.4; charset=utf-8"
    );
    answer.text
}

fn seconds(at: Timestamp) -> f64 {
    SignedDuration::from_secs(at.as_second()).as_secs_f64()
}

/// The value of a sample.
fn value(text: &str, sample: &str) -> Option<f64> {
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix(sample)?.strip_prefix(' '));
    line.map(|value| value.parse().unwrap())
}

/// The names in an expression or a sample: all that begin like one of ours.
fn names(text: &str) -> BTreeSet<String> {
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let words = text.split(|c| !word(c));
    let ours = words.filter(|word| word.starts_with("tresor_") || word.starts_with("process_"));
    ours.map(str::to_owned).collect()
}

/// Whether `/metrics` has it.
fn is_known(name: &str) -> bool {
    METRICS.iter().any(|metric| match metric.kind {
        MetricKind::Histogram => ["_bucket", "_sum", "_count"]
            .iter()
            .any(|end| name.strip_suffix(end) == Some(metric.name)),
        _ => metric.name == name,
    })
}

async fn enqueue(service: &Service, kind: JobKind, subject: &str, at: Timestamp) -> NewJob {
    let job = NewJob {
        id: JobId::generate(),
        kind,
        subject: subject.to_owned(),
        lock: None,
        params: Value::Null,
        sub_tasks: vec![SubTaskSpec {
            name: "Free space".to_owned(),
            limit_ms: None,
            commits: true,
        }],
        created_at: at,
    };
    let ticket = Ticket {
        lane: "local".to_owned(),
        not_before: at,
        rank: 0,
    };
    service.catalog.enqueue(&job, &ticket).await.unwrap();
    job
}

/// Takes a job up and, if asked for, ends it.
async fn work(service: &Service, job: &NewJob, at: Timestamp, ends: bool) {
    let owner = Owner::current();
    let lease = service.catalog.claim(job.id, &owner).await.unwrap();
    let output = Value::Null;
    let end = JobEvent::Ended {
        state: JobState::Completed,
    };
    let events = [
        JobEvent::TakenUp { owner },
        JobEvent::Started { sub_task: 0 },
        JobEvent::Succeeded {
            sub_task: 0,
            output,
        },
        end,
    ];
    let number = if ends { 4 } else { 2 };
    for (seq, event) in (0..).zip(events).take(number) {
        let state = if seq == 3 {
            JobState::Completed
        } else {
            JobState::InProgress
        };
        let recorded = RecordedEvent { seq, at, event };
        let appended = service.catalog.append(&lease, &recorded, state).await;
        appended.unwrap();
    }
}

#[tokio::test]
async fn what_is_there_is_told_as_prometheus_reads_it() {
    let service = Service::new().await;
    let now = Timestamp::now();
    let hour = SignedDuration::from_hours(1);
    let hostile = "web\"} 1\n\\evil";
    for name in [hostile, "db01"] {
        let vm = service.vm(name).await;
        service
            .catalog
            .protect(vm, "nightly", now - hour)
            .await
            .unwrap();
        let end = RunEnd::Succeeded {
            point_at: now - hour * 200,
            expected_s: 60,
            expected_bytes: 1,
        };
        service.catalog.note_finished(vm, end).await.unwrap();
    }
    let gone = Problem::from(Kind::VmNotFound { vm: "x".to_owned() });
    service.catalog.raise("x", &gone, now).await.unwrap();
    let done = enqueue(&service, JobKind::Collect, "main", now - hour).await;
    work(&service, &done, now, true).await;
    let runs = enqueue(&service, JobKind::Collect, "main", now).await;
    work(&service, &runs, now, false).await;
    enqueue(&service, JobKind::Expire, "main", now - hour).await;

    let token = service.token(TokenRole::Reader).await;
    service.get(&token, "/api/v1/items/nothing").await;
    let text = scrape(&service).await;
    promtool(&["check", "metrics"], &text);
    let count = |sample: &str| value(&text, sample).unwrap_or_else(|| panic!("{sample}: {text}"));
    assert_eq!(count(r#"tresor_items{standing="late"}"#), 2.0);
    let labels = r#"{vm="web\"} 1\n\\evil",policy="nightly",vault="main"}"#;
    let gap = count(&format!("tresor_item_allowed_gap_seconds{labels}"));
    assert!(gap > 24.0 * 3600.0, "{gap}");
    let last = count(&format!("tresor_item_last_point_timestamp_seconds{labels}"));
    let due = count(&format!("tresor_item_due_timestamp_seconds{labels}"));
    assert!(last + gap < due && due < seconds(now));
    let ended = r#"tresor_jobs_ended_total{kind="collect",state="completed"}"#;
    assert_eq!(count(ended), 1.0);
    assert_eq!(count(r#"tresor_jobs_running{kind="collect"}"#), 1.0);
    assert_eq!(count(r#"tresor_jobs_queued{lane="local"}"#), 1.0);
    assert!(count(r#"tresor_jobs_queued_oldest_seconds{lane="local"}"#) >= 3600.0);
    let wait = r#"tresor_job_queue_wait_seconds_sum{kind="collect"}"#;
    assert!((3599.0..3601.0).contains(&count(wait)));
    let bucket =
        r#"tresor_sub_task_duration_seconds_bucket{kind="collect",sub_task="Free space",le="1"}"#;
    assert_eq!(count(bucket), 1.0);
    assert_eq!(count(r#"tresor_alerts_open{code="VmNotFound"}"#), 1.0);
    let collected = r#"tresor_vault_last_job_timestamp_seconds{vault="main",kind="collect"}"#;
    assert!((count(collected) - seconds(now)).abs() < 2.0);
    let route =
        r#"tresor_http_requests_total{method="GET",route="/api/v1/items/{vm}",status="400"}"#;
    assert_eq!(count(route), 1.0);
    assert!(count("process_resident_memory_bytes") > 1e6);

    let samples: String = text
        .lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| line.split(['{', ' ']).next().unwrap_or_default().to_owned() + "\n")
        .collect();
    for name in names(&samples) {
        assert!(is_known(&name), "{name} is not in the table");
    }
}

#[tokio::test]
async fn what_a_client_sends_makes_no_new_series() {
    let service = Service::new().await;
    let token = service.token(TokenRole::Reader).await;
    for number in 0..20 {
        service.get(&token, &format!("/nothing/{number}")).await;
        service.get(&token, &format!("/api/v1/jobs/{number}")).await;
        let method = format!("METHOD{number}");
        service
            .change(&token, (&method, "/api/v1/jobs"), &Value::Null, &[])
            .await;
    }
    let text = scrape(&service).await;
    let series = text
        .lines()
        .filter(|line| line.starts_with("tresor_http_requests_total{"));
    assert_eq!(series.count(), 3, "{text}");
}

#[test]
fn the_documents_table_is_the_codes() {
    const BEGIN: &str = "<!-- the table is made from the code: TRESOR_WRITE_DOCS=1 cargo nextest run -p tresor-api documents_table -->\n";
    let path = repository().join("docs/metrics.md");
    let text = fs::read_to_string(&path).unwrap();
    let (before, _) = text.split_once(BEGIN).expect("the place of the table");
    let made = format!("{before}{BEGIN}{}", metrics_page());
    if std::env::var_os("TRESOR_WRITE_DOCS").is_some() {
        fs::write(&path, &made).unwrap();
    }
    let committed = fs::read_to_string(&path).unwrap();
    assert!(committed == made, "docs/metrics.md is not current");
}

/// Expressions of the dashboard: panels, and the lists that its variables are.
fn expressions(value: &Value, into: &mut Vec<String>) {
    match value {
        Value::Object(members) => {
            for (name, member) in members {
                match member.as_str() {
                    Some(text) if name == "expr" => into.push(text.to_owned()),
                    _ => expressions(member, into),
                }
            }
        }
        Value::Array(all) => all.iter().for_each(|each| expressions(each, into)),
        _ => {}
    }
}

#[test]
fn every_expression_of_the_dashboard_parses_and_knows_its_metrics() {
    let text = fs::read_to_string(repository().join("docs/monitoring/grafana.json")).unwrap();
    let dashboard: Value = serde_json::from_str(&text).unwrap();
    let mut found = Vec::new();
    expressions(&dashboard, &mut found);
    assert!(found.len() > 10, "{found:?}");
    let mut rules = String::from("groups:\n- name: dashboard\n  rules:\n");
    for (number, expression) in found.iter().enumerate() {
        // What Grafana fills in.
        let expression = expression.replace("$__rate_interval", "5m");
        let quoted = Value::String(expression);
        rules.push_str(&format!("  - record: panel:{number}\n    expr: {quoted}\n"));
    }
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("rules.yaml");
    fs::write(&path, rules).unwrap();
    promtool(&["check", "rules", path.to_str().unwrap()], "");
    for name in names(&found.join("\n")) {
        assert!(is_known(&name), "{name} is in no table");
    }
}

#[test]
fn alert_rules_are_valid_and_fire_when_they_should() {
    let directory = repository().join("docs/monitoring");
    let rules = directory.join("alerts.yaml");
    promtool(
        &[
            "check",
            "rules",
            "--lint=all",
            "--lint-fatal",
            rules.to_str().unwrap(),
        ],
        "",
    );
    let text = fs::read_to_string(&rules).unwrap();
    let found = names(&text);
    assert!(found.len() > 5, "{found:?}");
    for name in found {
        assert!(is_known(&name), "{name} is in no table");
    }
    let cases = directory.join("alerts-test.yaml");
    promtool(&["test", "rules", cases.to_str().unwrap()], "");
}

/// `cargo nextest run -p tresor-api --run-ignored all --no-capture 10_000`
#[tokio::test]
#[ignore = "a measurement"]
async fn scraping_10_000_items() {
    let service = Service::new().await;
    let now = Timestamp::now();
    for number in 0..10_000 {
        let vm = service.vm(&format!("vm{number:05}")).await;
        service.catalog.protect(vm, "nightly", now).await.unwrap();
        let end = RunEnd::Succeeded {
            point_at: now,
            expected_s: 60,
            expected_bytes: 1,
        };
        service.catalog.note_finished(vm, end).await.unwrap();
    }
    for _ in 0..5 {
        let began = std::time::Instant::now();
        let text = scrape(&service).await;
        println!("{} bytes in {:?}", text.len(), began.elapsed());
    }
}

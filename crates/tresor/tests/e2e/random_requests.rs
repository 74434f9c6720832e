//! The API of a running service, asked at random: by a program that makes requests from the document which the
//! service itself serves, right ones and wrong ones, and holds the answers against it.

use std::{
    path::{Path, PathBuf},
    process::Stdio,
};

use jiff::Timestamp;
use tokio::process::{Child, Command};
use tresor_catalog::{Catalog, PointRecord, VmRecord};
use tresor_model::{Consistency, PointId, SessionId, VmId};

use crate::{
    lab::Lab,
    running::signal,
    service::{PATIENCE, request, serving},
};

/// Requests an operation and phase; what they are is the seed's.
const EXAMPLES: &str = "25";
const SEED: &str = "1";
/// Below what the service allows one token.
const RATE: &str = "45/s";

/// What the document promises and an answer could break. Not among them: that what fits the document is
/// accepted. A policy or a channel that fits can still make no sense.
const CHECKS: &str = "not_a_server_error,status_code_conformance,content_type_conformance,\
    response_headers_conformance,response_schema_conformance,negative_data_rejection,\
    missing_required_header,unsupported_method,allow_header_conformance,use_after_free,\
    ensure_resource_availability,ignored_auth";

/// A service that has something to show, and where its users find it.
struct Served {
    lab: Lab,
    child: Child,
    url: String,
    token: String,
    names: Vec<(&'static str, String)>,
}

/// A VM that cannot be reached, and a point of it.
async fn furnish(lab: &Lab) -> Vec<(&'static str, String)> {
    let catalog = Catalog::open(&lab.state().join("catalog.db"))
        .await
        .unwrap();
    let (vm, now) = (VmId::generate(), Timestamp::now());
    let record = VmRecord {
        name: "web01".to_owned(),
        id: vm,
        qmp_socket: lab.path("nothing.qmp"),
        agent_socket: None,
        excluded_disks: Vec::new(),
        included_disks: Vec::new(),
        machine: None,
        host: None,
        vault: "vault".to_owned(),
        retention: None,
        created_at: now,
    };
    catalog.add_vm(&record).await.unwrap();
    let point = PointRecord {
        id: PointId::from(SessionId::generate()),
        vault: catalog.vault("vault").await.unwrap().id,
        vm,
        vm_name: "web01".to_owned(),
        taken_at: now,
        committed_at: now,
        consistency: Consistency::FileSystem,
        size: 1 << 30,
        stored: 1 << 20,
        stats: Default::default(),
        copied_from: None,
    };
    catalog.upsert_point(&point).await.unwrap();
    vec![
        ("path.vm", vm.to_string()),
        ("path.point", point.id.to_string()),
        ("path.vault", "vault".to_owned()),
        ("query.vault", "vault".to_owned()),
        ("body.policy", "nightly".to_owned()),
        ("body.role", "reader".to_owned()),
        ("path.code", "VmNotFound".to_owned()),
    ]
}

impl Served {
    async fn start() -> Self {
        let lab = Lab::new().await;
        let names = furnish(&lab).await;
        let log = std::fs::File::create(lab.path("serve.log")).unwrap();
        let mut command = lab.command(&["serve", "--listen", "127.0.0.1:0"]);
        command.env("TRESOR_LOG", "info").stderr(Stdio::from(log));
        let mut child = command.spawn().unwrap();
        let told = serving(&mut child).await;
        let text = |name: &str| told[name].as_str().unwrap().to_owned();
        let url = text("url").trim_end_matches('/').to_owned();
        Self {
            lab,
            child,
            url,
            token: text("admin_token"),
            names,
        }
    }

    fn told(&self) -> String {
        std::fs::read_to_string(self.lab.path("serve.log")).unwrap()
    }

    async fn get(&self, path: &str) -> (u16, String) {
        let bearer = format!("Authorization: Bearer {}", self.token);
        request(&self.lab, &self.url, path, &["-H", &bearer]).await
    }

    async fn post(&self, path: &str, body: &str) -> serde_json::Value {
        let bearer = format!("Authorization: Bearer {}", self.token);
        let json = "Content-Type: application/json";
        let more = ["-X", "POST", "-H", &bearer, "-H", json, "--data", body];
        let (status, text) = request(&self.lab, &self.url, path, &more).await;
        assert!(status < 300, "{status}: {text}");
        serde_json::from_str(&text).unwrap()
    }

    /// Half of the names in requests are of what is there.
    fn config(&self) -> PathBuf {
        let mut text = String::new();
        for (number, (place, value)) in self.names.iter().enumerate() {
            text.push_str(&format!(
                "[dictionaries.d{number}]\nvalues = [\"{value}\"]\n\
                 [parameters.\"{place}\"]\ndictionary = \"d{number}\"\nprobability = 0.5\n"
            ));
        }
        let path = self.lab.path("schemathesis.toml");
        std::fs::write(&path, text).unwrap();
        path
    }

    /// Asks; what it found is in the panic.
    async fn ask(&self, more: &[&str]) {
        let python = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/python/bin/python");
        let document = format!("{}/api/v1/openapi.json", self.url);
        let bearer = format!("Authorization: Bearer {}", self.token);
        let asked = Command::new(python)
            .current_dir(self.lab.path(""))
            .args([
                "-c",
                "from schemathesis.cli import schemathesis; schemathesis()",
            ])
            .arg("--config-file")
            .arg(self.config())
            .args(["--no-color", "run", &document, "--header", &bearer])
            .arg("--tls-verify")
            .arg(self.lab.state().join("identity/ca.crt"))
            .args([
                "--checks",
                CHECKS,
                "--rate-limit",
                RATE,
                "--request-timeout",
                "60",
            ])
            .args(["--max-examples", EXAMPLES, "--seed", SEED])
            .args(["--generation-database", "none", "--warnings", "off"])
            .args(["--continue-on-failure", "--output-truncate", "false"])
            .args(more)
            .kill_on_drop(true)
            .output();
        let asked = tokio::time::timeout(PATIENCE, asked)
            .await
            .unwrap()
            .unwrap();
        let said = String::from_utf8_lossy(&asked.stdout);
        let wrong = String::from_utf8_lossy(&asked.stderr);
        assert!(asked.status.success(), "{said}\n{wrong}\n{}", self.told());
        assert!(said.contains("No issues found"), "{said}");
    }
}

#[tokio::test]
async fn no_random_request_makes_the_service_fail_or_break_its_document() {
    let mut served = Served::start().await;
    let vm = served.names[0].1.clone();
    let spare = served
        .post("/api/v1/tokens", r#"{"name":"spare","role":"reader"}"#)
        .await;
    let spare = spare["token"]["id"].as_str().unwrap().to_owned();
    // The stream has no end; who revokes tokens could revoke the one that asks.
    let kept_out = [
        "--exclude-operation-id",
        "events_follow",
        "--exclude-operation-id",
        "tokens_revoke",
    ];
    served.ask(&kept_out).await;
    served.names.push(("path.id", spare));
    served
        .ask(&[
            "--include-operation-id",
            "tokens_revoke",
            "--phases",
            "coverage,fuzzing",
        ])
        .await;

    // It was let in to the end, and there is something of what it asked for.
    let (status, audit) = served.get("/api/v1/audit?limit=500").await;
    assert_eq!(status, 200, "{audit}");
    for action in [
        "items.protect",
        "jobs.start",
        "tokens.add",
        "tokens.revoke",
        "points.restore",
    ] {
        assert!(
            audit.contains(&format!("\"{action}\"")),
            "no {action}: {audit}"
        );
    }
    assert!(audit.contains(&vm), "{audit}");
    assert!(!served.told().contains("panicked"), "{}", served.told());
    signal(served.child.id().unwrap(), "TERM");
    let ended = tokio::time::timeout(PATIENCE, served.child.wait()).await;
    assert!(ended.unwrap().unwrap().success(), "{}", served.told());
}

/// What no HTTP client sends: the service answers or hangs up, and goes on.
#[tokio::test]
async fn what_is_no_request_is_answered_or_hung_up_on() {
    let served = Served::start().await;
    let long = "a".repeat(100_000);
    let bearer = format!("Authorization: Bearer {}", served.token);
    let odd = format!("X-Odd: {long}");
    let headers = vec![format!("X-Many: {}", "b".repeat(100)); 300];
    let many: Vec<&str> = headers.iter().flat_map(|header| ["-H", header]).collect();
    let path = format!("/api/v1/policies/{long}");
    for (path, more) in [
        (path.as_str(), vec!["-H", &bearer]),
        ("/api/v1/status", vec!["-H", &bearer, "-H", &odd]),
        ("/api/v1/status", many),
        ("/api/v1/status", vec!["-X", "BREW", "-H", &bearer]),
        (
            "/api/v1/status",
            vec!["--http1.1", "-H", "Content-Length: 1e9", "-H", &bearer],
        ),
        (
            "/api/v1/status",
            vec!["--http1.1", "-H", "Transfer-Encoding: odd", "-H", &bearer],
        ),
        (
            "/api/v1/status",
            vec!["--http1.1", "-H", "Host: \u{ff}", "-H", &bearer],
        ),
    ] {
        let answered = curl(&served, path, &more).await;
        assert!(
            answered.is_none_or(|status| (400..500).contains(&status) || status == 200),
            "{path:.40} {more:.60?} {answered:?}"
        );
    }
    let (status, text) = served.get("/api/v1/status").await;
    assert_eq!(status, 200, "{text}");
    assert!(!served.told().contains("panicked"), "{}", served.told());
}

/// The status; `None`: it hung up.
async fn curl(served: &Served, path: &str, more: &[&str]) -> Option<u16> {
    let output = Command::new("curl")
        .args(["--silent", "--max-time", "60", "--cacert"])
        .arg(served.lab.state().join("identity/ca.crt"))
        .args(["--output", "/dev/null", "--write-out", "%{http_code}"])
        .args(more)
        .arg(format!("{}{path}", served.url))
        .output()
        .await
        .unwrap();
    // 28: it took too long.
    assert_ne!(output.status.code(), Some(28), "{path:.40} {more:.60?}");
    let status: u16 = String::from_utf8_lossy(&output.stdout).parse().unwrap();
    (status != 0).then_some(status)
}

//! Restore, verify, copy, expire and collect as jobs of the service: asked for over HTTP, and cut off.

use std::{path::PathBuf, process::Stdio, time::Duration};

use serde_json::{Value, json};
use tokio::{process::Child, time::Instant};
use tresor_testkit::{Guest, compare_images};

use crate::{
    lab::{Lab, VM, restored},
    service::{PATIENCE, request, serving, told},
};

/// Every job stops at its first record.
const HOLD_ALL: &str =
    "0:recorded,0:recorded,0:recorded,0:recorded,0:recorded,0:recorded,0:recorded,0:recorded";

/// A service, and how it is asked.
struct Served<'a> {
    lab: &'a Lab,
    child: Child,
    url: String,
    bearer: String,
}

impl<'a> Served<'a> {
    async fn start(lab: &'a Lab, token: Option<&str>, hold: bool) -> Self {
        let mut log = std::fs::File::options();
        let log = log.create(true).append(true).open(lab.path("serve.log"));
        let mut command = lab.command(&["serve", "--listen", "127.0.0.1:0"]);
        command
            .env("TRESOR_LOG", "info")
            .stderr(Stdio::from(log.unwrap()));
        if hold {
            command.env("TRESOR_HOLD", HOLD_ALL);
            command.env("TRESOR_HOLD_RELEASE", lab.path("never"));
        }
        let mut child = command.spawn().unwrap();
        let told = serving(&mut child).await;
        let url = told["url"]
            .as_str()
            .unwrap()
            .trim_end_matches('/')
            .to_owned();
        let token = token.or(told["admin_token"].as_str()).unwrap();
        let bearer = format!("Authorization: Bearer {token}");
        Self {
            lab,
            child,
            url,
            bearer,
        }
    }

    fn token(&self) -> String {
        self.bearer.rsplit(' ').next().unwrap().to_owned()
    }

    async fn post(&self, path: &str, body: &Value, key: &str) -> (u16, Value) {
        let (body, key) = (body.to_string(), format!("Idempotency-Key: {key}"));
        let json = "Content-Type: application/json";
        let more = ["-H", &self.bearer, "-H", json, "-H", &key, "--data", &body];
        let (status, text) = request(self.lab, &self.url, path, &more).await;
        (status, serde_json::from_str(&text).unwrap_or_default())
    }

    /// Asks for a job; gives its id.
    async fn job(&self, path: &str, body: &Value, key: &str) -> String {
        let (status, job) = self.post(path, body, key).await;
        assert_eq!(status, 202, "{job}");
        job["id"].as_str().unwrap().to_owned()
    }

    /// Waits until a job is in one of these states; gives its details.
    async fn until(&self, job: &str, states: &[&str]) -> Value {
        let until = Instant::now() + PATIENCE;
        loop {
            let path = format!("/api/v1/jobs/{job}");
            let (status, text) = request(self.lab, &self.url, &path, &["-H", &self.bearer]).await;
            assert_eq!(status, 200, "{text}");
            let shown: Value = serde_json::from_str(&text).unwrap();
            if states.iter().any(|state| shown["job"]["state"] == *state) {
                return shown;
            }
            assert!(Instant::now() < until, "{shown}: {}", told(self.lab));
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
    }

    async fn kill(mut self) {
        self.child.start_kill().unwrap();
        self.child.wait().await.unwrap();
    }
}

/// A point of a real guest in one of two vaults.
async fn two_vaults(guest: &Guest) -> (Lab, String) {
    let lab = Lab::with(guest).await;
    let second = lab.path("second");
    let second = ["vault", "create", second.to_str().unwrap()];
    lab.run(&second).await.ok();
    let point = lab.run(&["backup", VM]).await.ok();
    (lab, point["point"].as_str().unwrap().to_owned())
}

/// All that can be asked for of a point.
async fn ask_all(served: &Served<'_>, point: &str, round: &str) -> Vec<String> {
    let restore = format!("/api/v1/points/{point}/restore");
    let body = json!({ "to": "web", "format": "raw" });
    let key = |what: &str| format!("{round}-{what}");
    vec![
        served
            .job("/api/v1/vaults/vault/verify", &json!({}), &key("v"))
            .await,
        served
            .job(
                "/api/v1/vaults/vault/copy",
                &json!({ "to": "second" }),
                &key("c"),
            )
            .await,
        served.job(&restore, &body, &key("r")).await,
    ]
}

#[tokio::test]
async fn a_killed_service_ends_its_jobs_and_the_next_ones_do_the_work() {
    let guest = Guest::builder().data_disk().start().await.unwrap();
    let (lab, point) = two_vaults(&guest).await;
    let first = Served::start(&lab, None, true).await;
    let token = first.token();
    let cut_off = ask_all(&first, &point, "first").await;
    for job in &cut_off {
        first.until(job, &["in_progress"]).await;
    }
    first.kill().await;

    let second = Served::start(&lab, Some(&token), false).await;
    for job in &cut_off {
        let shown = second.until(job, &["failed", "completed"]).await;
        assert_eq!(shown["job"]["state"], "failed", "{shown}");
    }
    // The same request again is the same job; a new one does the work.
    assert_eq!(ask_all(&second, &point, "first").await, cut_off);
    for job in ask_all(&second, &point, "second").await {
        let shown = second
            .until(&job, &["failed", "completed", "completed_with_warnings"])
            .await;
        assert_eq!(shown["job"]["state"], "completed", "{shown}");
    }
    let whole = lab.restore_raw(&point, "whole").await;
    let by_service = lab.state().join("restored/web");
    assert_same(&guest, (&whole, &by_service)).await;
    let copies = lab
        .run(&["points", "list", "--vault", "second"])
        .await
        .rows();
    assert_eq!(
        copies[0]["copied_from"]["point"],
        point.as_str(),
        "{copies:?}"
    );

    // Where it is, and where it may not be.
    let path = format!("/api/v1/points/{point}/restore");
    let again = second
        .job(&path, &json!({ "to": "web", "format": "raw" }), "again")
        .await;
    second.until(&again, &["failed"]).await;
    lab.records("RestoreTargetExists", &again).await;
    let outside = lab.path("outside");
    let outside = json!({ "to": outside.to_str().unwrap() });
    let outside = second.job(&path, &outside, "outside").await;
    second.until(&outside, &["failed"]).await;
    lab.records("RestoreTargetNotAllowed", &outside).await;
    assert!(!lab.path("outside").exists());
    second.kill().await;
}

async fn assert_same(guest: &Guest, (one, other): (&PathBuf, &PathBuf)) {
    for disk in guest.disks() {
        let (one, other) = (restored(one, disk, "raw"), restored(other, disk, "raw"));
        let difference = compare_images(&one, &other).await.unwrap();
        assert!(difference.is_none(), "{difference:?}");
    }
}

#[tokio::test]
async fn protection_is_stopped_with_the_data_which_a_pin_holds_back() {
    let guest = Guest::builder().start().await.unwrap();
    let lab = Lab::with(&guest).await;
    let pinned = lab.run(&["backup", VM]).await.ok();
    let pinned = pinned["point"].as_str().unwrap();
    let gone = lab.run(&["backup", VM]).await.ok();
    let gone = gone["point"].as_str().unwrap();
    lab.run(&["points", "pin", pinned]).await.ok();
    lab.run(&["unprotect", VM, "--delete-data", "--yes"])
        .await
        .raises("ObjectNotFound");
    lab.run(&["protect", VM, "--policy", "nightly"]).await.ok();
    lab.run(&["unprotect", VM, "--delete-data"])
        .await
        .raises("UsageError");
    let done = ["unprotect", VM, "--delete-data", "--yes"];
    let done = lab.run(&done).await.ok();
    assert_eq!(
        (&done["remove"], &done["keep"]),
        (&json!(1), &json!(1)),
        "{done}"
    );
    let queued = lab.run(&["verify", pinned, "--queue"]).await.ok();
    let served = Served::start(&lab, None, false).await;
    for job in [&done["job"], &queued["job"]] {
        let shown = served
            .until(job.as_str().unwrap(), &["failed", "completed"])
            .await;
        assert_eq!(shown["job"]["state"], "completed", "{shown}");
    }
    let listed = lab.run(&["points", "list"]).await.rows();
    let ids: Vec<_> = listed.iter().map(|point| &point["id"]).collect();
    assert_eq!(ids, [pinned], "{listed:?}");
    lab.run(&["points", "undelete", gone]).await.ok();
    lab.run(&["status", "--check"]).await.ok();
    served.kill().await;
}

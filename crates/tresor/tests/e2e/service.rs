//! The service: what is protected is backed up by itself, whatever happens to the service.

use std::{fmt::Write as _, time::Duration};

use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::Child,
    time::Instant,
};
use tresor_testkit::Guest;

use crate::{
    lab::{Lab, assert_unharmed},
    running::signal,
};

/// Due each minute, and tried again soon.
pub(crate) const MINUTELY: &str = r#"
name = "minutely"
[[schedules]]
calendar = "*:*"
window = "1m"
[consistency]
lowest = "file-system"
[retention]
daily = 7
[retry]
first_pause = "1s"
longest_pause = "10s"
"#;

/// Long enough for a few windows, whatever the machine does.
pub(crate) const PATIENCE: Duration = Duration::from_secs(600);

const NAMES: [&str; 2] = ["db01", "web01"];

/// Two guests, registered and protected.
async fn protected() -> (Lab, [Guest; 2]) {
    let lab = Lab::new().await;
    let guests = [
        Guest::builder().data_disk().start().await.unwrap(),
        Guest::builder().data_disk().start().await.unwrap(),
    ];
    let policy = lab.path("minutely.toml");
    std::fs::write(&policy, MINUTELY).unwrap();
    let set = ["policies", "set", policy.to_str().unwrap()];
    assert_eq!(lab.run(&set).await.ok()["revision"], 1);
    for (name, guest) in NAMES.iter().zip(&guests) {
        let (qmp, agent) = (guest.qmp_socket(), guest.agent_socket());
        let (qmp, agent) = (qmp.to_str().unwrap(), agent.to_str().unwrap());
        let add = ["vm", "add", name, "--qmp", qmp, "--agent", agent];
        lab.run(&add).await.ok();
        let protect = ["protect", name, "--policy", "minutely"];
        assert_eq!(lab.run(&protect).await.ok()["vault"], "vault");
    }
    (lab, guests)
}

fn serve(lab: &Lab) -> Child {
    let log = std::fs::File::options()
        .create(true)
        .append(true)
        .open(lab.path("serve.log"))
        .unwrap();
    let mut command = lab.command(&["serve", "--start-gap", "1s", "--listen", "127.0.0.1:0"]);
    command.env("TRESOR_LOG", "info").stderr(log);
    command.spawn().unwrap()
}

pub(crate) fn told(lab: &Lab) -> String {
    std::fs::read_to_string(lab.path("serve.log")).unwrap_or_default()
}

pub(crate) async fn points(lab: &Lab, vm: &str) -> Vec<Value> {
    lab.run(&["points", "list", vm]).await.rows()
}

/// Waits until each VM has so many points.
async fn reach(lab: &Lab, wanted: usize) {
    let until = Instant::now() + PATIENCE;
    loop {
        let mut least = usize::MAX;
        for name in NAMES {
            least = least.min(points(lab, name).await.len());
        }
        if least >= wanted {
            return;
        }
        assert!(Instant::now() < until, "{least} of {wanted}: {}", told(lab));
        tokio::time::sleep(Duration::from_secs(2)).await;
    }
}

/// Waits until a job is between its snapshot and its end.
async fn in_transfer(lab: &Lab) -> String {
    let until = Instant::now() + PATIENCE;
    while Instant::now() < until {
        for job in lab.run(&["jobs", "list", "--limit", "4"]).await.rows() {
            if job["state"] == "in_progress" && job["kind"] == "backup" {
                return job["job"].as_str().unwrap().to_owned();
            }
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("no job ran: {}", told(lab));
}

#[tokio::test]
async fn what_is_protected_is_backed_up_by_itself_and_a_killed_service_goes_on() {
    let (lab, guests) = protected().await;
    lab.run(&["status", "--check"]).await.raises("ServiceDown");
    let mut first = serve(&lab);
    reach(&lab, 1).await;
    lab.run(&["status", "--check"]).await.ok();

    let cut_off = in_transfer(&lab).await;
    first.start_kill().unwrap();
    first.wait().await.unwrap();
    let before = points(&lab, NAMES[0])
        .await
        .len()
        .max(points(&lab, NAMES[1]).await.len());
    let second = serve(&lab);
    reach(&lab, before + 1).await;

    signal(second.id().unwrap(), "TERM");
    let ended = tokio::time::timeout(PATIENCE, second.wait_with_output()).await;
    assert!(ended.unwrap().unwrap().status.success(), "{}", told(&lab));
    lab.run(&["status", "--check"]).await.raises("ServiceDown");

    for guest in &guests {
        assert_unharmed(guest).await;
    }
    let shown = lab.run(&["jobs", "show", &cut_off]).await.ok();
    let state = shown["state"].as_str().unwrap();
    assert!(
        ["failed", "completed", "completed_with_warnings"].contains(&state),
        "{shown}"
    );
    assert_all_told(&lab).await;
}

/// Every job has ended, and every point is what was asked for.
async fn assert_all_told(lab: &Lab) {
    let mut story = String::new();
    let jobs = lab.run(&["jobs", "list", "--limit", "100"]).await.rows();
    for kind in ["expire", "collect", "verify"] {
        let mut of_kind = jobs.iter().filter(|job| job["kind"] == kind);
        assert!(of_kind.any(|job| job["state"] == "completed"), "no {kind}");
    }
    for job in jobs {
        writeln!(story, "{job}").unwrap();
        let state = job["state"].as_str().unwrap();
        assert!(
            !["queued", "in_progress", "cancelling"].contains(&state),
            "{job}"
        );
    }
    for name in NAMES {
        for point in points(lab, name).await {
            let achieved = point["consistency"].as_str().unwrap();
            let wanted = ["file-system", "application"];
            assert!(wanted.contains(&achieved), "{point}\n{story}");
        }
    }
    lab.run(&["check"]).await.ok();
}

#[tokio::test]
async fn a_vm_that_was_found_is_protected_by_its_name_and_followed() {
    let lab = Lab::new().await;
    let guest = Guest::builder().start().await.unwrap();
    let place = lab.path("sockets");
    std::fs::create_dir(&place).unwrap();
    let link = place.join("one.qmp");
    std::os::unix::fs::symlink(guest.qmp_socket(), &link).unwrap();
    let pattern = place.join("*.qmp");
    let mut served = lab
        .command(&[
            "serve",
            "--listen",
            "127.0.0.1:0",
            "--discover",
            pattern.to_str().unwrap(),
        ])
        .spawn()
        .unwrap();
    let id = guest_id(&guest).await;
    let until = Instant::now() + PATIENCE;
    let protected = loop {
        let protected = lab.run(&["protect", &id, "--policy", "hourly"]).await;
        if protected.lines().last().unwrap()["message_type"] == "protected" {
            break protected.ok();
        }
        protected.raises("VmNotFound");
        assert!(Instant::now() < until, "the VM is not found");
        tokio::time::sleep(Duration::from_millis(500)).await;
    };
    let name = protected["vm"].as_str().unwrap();
    let listed = lab.run(&["vm", "list"]).await.rows();
    assert_eq!(listed[0]["qmp_socket"], link.to_str().unwrap());
    let agent = listed[0]["agent_socket"].as_str().unwrap();
    assert_eq!(agent, guest.agent_socket().to_str().unwrap());
    served.start_kill().unwrap();
    served.wait().await.unwrap();
    let point = lab.run(&["backup", name]).await.ok();
    assert_ne!(point["consistency"]["achieved"], "crash", "{point}");
}

/// What `serve` says when it listens.
pub(crate) async fn serving(child: &mut Child) -> Value {
    let stdout = child.stdout.take().unwrap();
    let mut lines = BufReader::new(stdout).lines();
    let line = lines.next_line().await.unwrap().unwrap();
    serde_json::from_str(&line).unwrap()
}

/// A request by another program, which trusts the service's authority: status and body.
pub(crate) async fn request(lab: &Lab, url: &str, path: &str, more: &[&str]) -> (u16, String) {
    let ca = lab.state().join("identity/ca.crt");
    let output = tokio::process::Command::new("curl")
        .args(["--silent", "--show-error", "--max-time", "60", "--cacert"])
        .arg(ca)
        .args(["--write-out", "\n%{http_code}"])
        .args(more)
        .arg(format!("{url}{path}"))
        .output()
        .await
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    let (body, status) = text.rsplit_once('\n').unwrap_or_else(|| panic!("{error}"));
    (status.parse().unwrap(), body.to_owned())
}

#[tokio::test]
async fn the_api_and_the_first_page_are_served_over_tls_with_a_token_that_is_shown_once() {
    let lab = Lab::new().await;
    let listen = ["serve", "--listen", "127.0.0.1:0"];
    let mut first = lab.command(&listen).spawn().unwrap();
    let told = serving(&mut first).await;
    let url = told["url"]
        .as_str()
        .unwrap()
        .trim_end_matches('/')
        .to_owned();
    let bearer = format!(
        "Authorization: Bearer {}",
        told["admin_token"].as_str().unwrap()
    );
    let (status, body) = request(&lab, &url, "/api/v1/policies", &[]).await;
    assert_eq!(status, 401, "{body}");
    let (status, body) = request(&lab, &url, "/api/v1/policies", &["-H", &bearer]).await;
    assert_eq!(status, 200, "{body}");
    assert!(body.contains("nightly"), "{body}");
    let (status, body) = request(&lab, &url, "/api/v1/status", &["-H", &bearer]).await;
    assert_eq!(status, 200, "{body}");
    let (status, page) = request(&lab, &url, "/", &["--location"]).await;
    assert!(status < 500 && page.contains("<html"), "{status}: {page}");
    // Who does not know the authority does not talk to it.
    let stranger = tokio::process::Command::new("curl")
        .args(["--silent", "--max-time", "60", &url])
        .status();
    assert!(!stranger.await.unwrap().success());
    signal(first.id().unwrap(), "TERM");
    assert!(first.wait().await.unwrap().success());

    let mut second = lab.command(&listen).spawn().unwrap();
    let told = serving(&mut second).await;
    assert_eq!(told["admin_token"], Value::Null);
    let url = told["url"]
        .as_str()
        .unwrap()
        .trim_end_matches('/')
        .to_owned();
    let (status, body) = request(&lab, &url, "/api/v1/status", &["-H", &bearer]).await;
    assert_eq!(status, 200, "{body}");
    let port = told["address"].as_str().unwrap();
    let third = lab.run(&["serve", "--listen", port]).await;
    third.raises("CannotListen");
    second.start_kill().unwrap();
    second.wait().await.unwrap();
}

pub(crate) async fn guest_id(guest: &Guest) -> String {
    let monitor = guest.monitor().unwrap();
    let answer = monitor.execute("query-uuid", Value::Null).await.unwrap();
    answer["UUID"].as_str().unwrap().to_owned()
}

/// A policy of its own, that is no document, or that cannot be.
#[tokio::test]
async fn a_policy_is_checked_as_a_whole_and_kept_while_it_is_used() {
    let (lab, _guests) = protected().await;
    let file = lab.path("bad.toml");
    let set = ["policies", "set", file.to_str().unwrap()];
    std::fs::write(&file, "name = \"x\"\nschedules = 3\n").unwrap();
    lab.run(&set).await.raises("PolicyInvalid");
    let wrong =
        "name = \"x\"\n[[schedules]]\ncalendar = \"22:00\"\nwindow = \"9d\"\n[retry]\ntries = 99\n";
    std::fs::write(&file, wrong).unwrap();
    let problem = lab.run(&set).await.raises("PolicyInvalid");
    let cause = problem["cause"].as_str().unwrap();
    assert!(
        cause.contains("schedules[0].window") && cause.contains("retry.tries"),
        "{cause}"
    );
    lab.run(&["policies", "remove", "minutely"])
        .await
        .raises("ObjectInUse");
    lab.run(&["policies", "show", "none"])
        .await
        .raises("ObjectNotFound");
    lab.run(&["protect", NAMES[0], "--policy", "none"])
        .await
        .raises("ObjectNotFound");
    let shown = lab.run(&["policies", "show", "minutely"]).await.ok();
    assert_eq!(shown["next"].as_array().unwrap().len(), 5);
    lab.run(&["policies", "remove", "hourly"]).await.ok();
    let names: Vec<_> = lab.run(&["policies", "list"]).await.rows();
    assert_eq!(names.len(), 2, "minutely and nightly: {names:?}");
    lab.run(&["unprotect", NAMES[0]]).await.ok();
}

#[tokio::test]
async fn a_backup_that_fails_for_good_is_an_alert_until_one_succeeds() {
    let (lab, _guests) = protected().await;
    let once = format!("{MINUTELY}tries = 1\n");
    let policy = lab.path("once.toml");
    std::fs::write(&policy, once).unwrap();
    lab.run(&["policies", "set", policy.to_str().unwrap()])
        .await
        .ok();
    let away = lab.path("away");
    std::fs::rename(lab.vault(), &away).unwrap();
    let mut served = serve(&lab);
    // What looks after the vault fails as well, and may be told first.
    loop {
        let at_risk = until_check(&lab, Some("ProtectionAtRisk")).await;
        if NAMES.iter().any(|name| at_risk.contains(name)) {
            break;
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    lab.run(&["status", "--check"])
        .await
        .raises("ProtectionAtRisk");
    let status = lab.run(&["status"]).await.ok();
    let problem = &status["alerts"][0]["problem"];
    assert_eq!(problem["code"], "VaultNotFound", "{status}");
    std::fs::rename(&away, lab.vault()).unwrap();
    until_check(&lab, None).await;
    served.start_kill().unwrap();
    served.wait().await.unwrap();
}

/// Waits until `status --check` says this, or that all is well; gives the cause.
async fn until_check(lab: &Lab, code: Option<&str>) -> String {
    let until = Instant::now() + PATIENCE;
    loop {
        let checked = lab.run(&["status", "--check"]).await;
        let last = checked.lines().pop().unwrap_or_default();
        if last["code"].as_str() == code {
            return last["cause"].as_str().unwrap_or_default().to_owned();
        }
        assert!(Instant::now() < until, "{last}: {}", told(lab));
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

//! A service that is told to stop while a backup runs, as by an upgrade: the backup ends, or is taken back and made
//! up for.

use std::{
    os::unix::net::UnixDatagram,
    process::{ExitStatus, Stdio},
    sync::mpsc,
    time::Duration,
};

use jiff::{SignedDuration, Timestamp, tz::TimeZone};
use serde_json::Value;
use tokio::{
    process::{Child, Command},
    time::Instant,
};
use tresor_testkit::Guest;

use crate::{
    lab::{Lab, VM, assert_unharmed},
    running::{guest_with_data, signal},
    service::{MINUTELY, PATIENCE, points, request, serving, told},
};

/// What systemd would hear.
struct Heard {
    lines: mpsc::Receiver<String>,
    all: Vec<String>,
}

impl Heard {
    fn listen(lab: &Lab) -> Self {
        let path = lab.path("notify");
        std::fs::remove_file(&path).ok();
        let socket = UnixDatagram::bind(&path).unwrap();
        let (sender, lines) = mpsc::channel();
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(length) = socket.recv(&mut buffer) {
                let text = String::from_utf8_lossy(&buffer[..length]).into_owned();
                if sender.send(text).is_err() {
                    return;
                }
            }
        });
        Self {
            lines,
            all: Vec::new(),
        }
    }

    /// Waits for a message with this in it.
    async fn expect(&mut self, wanted: &str) {
        let until = Instant::now() + PATIENCE;
        loop {
            self.all.extend(self.lines.try_iter());
            if self.all.iter().any(|message| message.contains(wanted)) {
                return;
            }
            assert!(Instant::now() < until, "no `{wanted}` in {:?}", self.all);
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

/// A VM whose backup starts within two minutes, takes a while, and is not due again for a day.
async fn slow_backup_soon() -> (Lab, Guest) {
    let guest = guest_with_data().await;
    let lab = Lab::with(&guest).await;
    let soon = Timestamp::now() + SignedDuration::from_secs(75);
    let at = soon.to_zoned(TimeZone::UTC).strftime("%H:%M").to_string();
    let policy = format!(
        "name = \"once\"\n[[schedules]]\ncalendar = \"{at}\"\nwindow = \"1m\"\n\
         [retention]\ndaily = 7\n[bandwidth]\nupload_mib_s = 8\n"
    );
    let file = lab.path("once.toml");
    std::fs::write(&file, policy).unwrap();
    lab.run(&["policies", "set", file.to_str().unwrap()])
        .await
        .ok();
    lab.run(&["protect", VM, "--policy", "once"]).await.ok();
    (lab, guest)
}

fn serve(lab: &Lab, grace: &str) -> Child {
    let log = std::fs::File::options()
        .create(true)
        .append(true)
        .open(lab.path("serve.log"));
    let args = ["serve", "--zone", "UTC", "--listen", "127.0.0.1:0"];
    let mut command = lab.command(&[&args[..], &["--grace", grace]].concat());
    command
        .env("TRESOR_LOG", "info")
        .env("NOTIFY_SOCKET", lab.path("notify"))
        .env("WATCHDOG_USEC", "3000000")
        .stderr(log.unwrap());
    command.spawn().unwrap()
}

/// The job that transfers.
async fn in_transfer(lab: &Lab) -> String {
    let until = Instant::now() + PATIENCE;
    while Instant::now() < until {
        for job in lab.run(&["jobs", "list", "--limit", "9"]).await.rows() {
            let id = job["job"].as_str().unwrap();
            if job["kind"] == "backup" && transfers(lab, id).await {
                return id.to_owned();
            }
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    panic!("nothing was transferred: {}", told(lab));
}

async fn transfers(lab: &Lab, job: &str) -> bool {
    let shown = lab.run(&["jobs", "show", job]).await.ok();
    let tasks = shown["view"]["sub_tasks"].as_array().unwrap();
    let mut tasks = tasks.iter();
    let transfer = tasks.find(|task| task["name"] == "Transfer data to vault");
    shown["state"] == "in_progress" && transfer.is_some_and(|task| task["state"] == "started")
}

async fn end(child: &mut Child, lab: &Lab) -> ExitStatus {
    let ended = tokio::time::timeout(PATIENCE, child.wait()).await;
    ended.unwrap_or_else(|_| panic!("{}", told(lab))).unwrap()
}

async fn state(lab: &Lab, job: &str) -> String {
    let shown = lab.run(&["jobs", "show", job]).await.ok();
    shown["state"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_backup_that_runs_when_the_service_is_told_to_stop_ends_well() {
    let (lab, guest) = slow_backup_soon().await;
    let mut heard = Heard::listen(&lab);
    let mut first = serve(&lab, "10m");
    let at = serving(&mut first).await;
    heard
        .expect("READY=1\nSTATUS=serves at https://127.0.0.1:")
        .await;
    heard.expect("WATCHDOG=1").await;
    let job = in_transfer(&lab).await;

    signal(first.id().unwrap(), "TERM");
    heard
        .expect("STOPPING=1\nSTATUS=waits for 1 job to end")
        .await;
    heard.expect("EXTEND_TIMEOUT_USEC=").await;
    // Meanwhile it answers: hosts and users need not wait for its job.
    let url = at["url"].as_str().unwrap().trim_end_matches('/');
    let token = at["admin_token"].as_str().unwrap();
    let bearer = format!("Authorization: Bearer {token}");
    let (status, body) = request(&lab, url, "/api/v1/status", &["-H", &bearer]).await;
    assert_eq!(status, 200, "{body}");
    assert!(first.try_wait().unwrap().is_none(), "it waits for the job");

    assert!(end(&mut first, &lab).await.success(), "{}", told(&lab));
    let ended = state(&lab, &job).await;
    assert!(ended.starts_with("completed"), "{ended}: {}", told(&lab));
    assert_eq!(points(&lab, VM).await.len(), 1);
    assert_unharmed(&guest).await;

    let mut second = serve(&lab, "10m");
    assert!(serving(&mut second).await["url"].is_string());
    lab.run(&["vm", "list"]).await.ok();
    signal(second.id().unwrap(), "TERM");
    assert!(end(&mut second, &lab).await.success(), "{}", told(&lab));
    assert_eq!(points(&lab, VM).await.len(), 1, "it is not due again");
}

#[tokio::test]
async fn a_backup_that_outlives_the_grace_is_taken_back_and_made_up_for() {
    let (lab, guest) = slow_backup_soon().await;
    let mut heard = Heard::listen(&lab);
    let mut first = serve(&lab, "1s");
    let job = in_transfer(&lab).await;
    signal(first.id().unwrap(), "TERM");
    heard.expect("STATUS=takes back 1 job").await;
    assert!(end(&mut first, &lab).await.success(), "{}", told(&lab));
    assert_eq!(state(&lab, &job).await, "cancelled");
    assert_unharmed(&guest).await;
    assert_eq!(points(&lab, VM).await, Vec::<Value>::new());

    // Its window is over or not: the next process does what was taken back. This one is told twice.
    let mut second = serve(&lab, "10m");
    let again = in_transfer(&lab).await;
    assert_ne!(again, job);
    signal(second.id().unwrap(), "TERM");
    let mut heard_again = Heard {
        lines: heard.lines,
        all: Vec::new(),
    };
    heard_again.expect("waits for 1 job").await;
    signal(second.id().unwrap(), "INT");
    assert!(end(&mut second, &lab).await.success(), "{}", told(&lab));
    assert_eq!(state(&lab, &again).await, "cancelled");
    assert_unharmed(&guest).await;

    let mut third = serve(&lab, "10m");
    let until = Instant::now() + PATIENCE;
    while points(&lab, VM).await.is_empty() {
        assert!(Instant::now() < until, "{}", told(&lab));
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    signal(third.id().unwrap(), "TERM");
    assert!(end(&mut third, &lab).await.success(), "{}", told(&lab));
    lab.run(&["check"]).await.ok();
}

/// An installation puts another program in the place of the one that runs. Its guards are of its own kind then too.
#[tokio::test]
async fn a_service_whose_program_was_replaced_goes_on_freezing_guests() {
    let guest = Guest::builder().data_disk().start().await.unwrap();
    let lab = Lab::with(&guest).await;
    let policy = lab.path("minutely.toml");
    std::fs::write(&policy, MINUTELY).unwrap();
    let set = ["policies", "set", policy.to_str().unwrap()];
    lab.run(&set).await.ok();
    lab.run(&["protect", VM, "--policy", "minutely"]).await.ok();

    let usual = lab.command(&["serve", "--listen", "127.0.0.1:0", "--start-gap", "1s"]);
    let program = lab.path("installed");
    std::fs::copy(usual.as_std().get_program(), &program).unwrap();
    let mut command = Command::new(&program);
    command
        .args(usual.as_std().get_args())
        .env("TRESOR_CONFIG", "")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .kill_on_drop(true);
    let mut service = command.spawn().unwrap();
    serving(&mut service).await;
    let other = lab.path("other");
    std::fs::write(&other, "#!/bin/false\n").unwrap();
    std::fs::rename(&other, &program).unwrap();

    let until = Instant::now() + PATIENCE;
    let point = loop {
        if let Some(point) = points(&lab, VM).await.pop() {
            break point;
        }
        assert!(Instant::now() < until, "no backup was made");
        tokio::time::sleep(Duration::from_secs(1)).await;
    };
    assert_ne!(point["consistency"], "crash", "it was frozen: {point}");
    signal(service.id().unwrap(), "TERM");
    assert!(end(&mut service, &lab).await.success());
    assert_unharmed(&guest).await;
}

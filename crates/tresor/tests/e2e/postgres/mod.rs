//! Several services on one PostgreSQL: each works on the VMs of its machine, one of them schedules, and any of
//! them, or the database, may go away at any moment.

mod killed;

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use serde_json::Value;
use tokio::{process::Child, time::Instant};
use tresor_testkit::Guest;

use crate::{
    kills::{self, POLICY},
    lab::{Lab, assert_unharmed, finish},
    postgres_server::PostgresServer,
    running::signal,
    service::{PATIENCE, points, request, serving},
};

/// A state directory, which stands for a machine, and the VM that is registered from there.
struct Machine {
    state: PathBuf,
    vm: &'static str,
    guest: Guest,
}

impl Machine {
    /// Boots the VM and registers it under the policy.
    async fn new(lab: &Lab, state: PathBuf, vm: &'static str) -> Self {
        let guest = Guest::builder().data_disk().start().await.unwrap();
        let machine = Self { state, vm, guest };
        let (qmp, agent) = (machine.guest.qmp_socket(), machine.guest.agent_socket());
        let (qmp, agent) = (qmp.to_str().unwrap(), agent.to_str().unwrap());
        let add = ["vm", "add", vm, "--qmp", qmp, "--agent", agent];
        lab.run_with_state(&machine.state, &add).await.ok();
        let policy = lab.path("minutely.toml");
        fs::write(&policy, POLICY).unwrap();
        let set = ["policies", "set", policy.to_str().unwrap()];
        lab.run(&set).await.ok();
        let protect = ["protect", vm, "--policy", "minutely"];
        lab.run(&protect).await.ok();
        machine
    }

    fn log(&self) -> PathBuf {
        self.state.with_extension("log")
    }

    /// Starts the service; gives what it says when it listens.
    async fn serve(&self, lab: &Lab) -> (Child, Value) {
        let log = fs::File::options()
            .create(true)
            .append(true)
            .open(self.log());
        let mut command = lab.command_with_state(&self.state, SERVE);
        command.env("TRESOR_LOG", "info").stderr(log.unwrap());
        let mut child = command.spawn().unwrap();
        let told = serving(&mut child).await;
        (child, told)
    }

    fn host(&self) -> String {
        let id = fs::read_to_string(self.state.join("host-id"));
        id.unwrap().trim().to_owned()
    }

    /// Waits until the VM has more than so many points.
    async fn has_more_points(&self, lab: &Lab, than: usize) {
        until(self, async || points(lab, self.vm).await.len() > than).await;
    }
}

const SERVE: &[&str] = &["serve", "--start-gap", "1s", "--listen", "127.0.0.1:0"];

/// Waits until it is so.
async fn until(machine: &Machine, mut is_so: impl AsyncFnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !is_so().await {
        let told = fs::read_to_string(machine.log()).unwrap_or_default();
        assert!(Instant::now() < end, "{told}");
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
}

async fn lab_on(server: &PostgresServer) -> Lab {
    let mut lab = Lab::without_vault();
    lab.database = Some(server.url());
    lab.create_vault().await;
    lab
}

fn copy_dir(from: &Path, to: &Path) {
    let copied = std::process::Command::new("cp")
        .arg("-a")
        .args([from, to])
        .status();
    assert!(copied.unwrap().success());
}

/// The process that schedules, `none` when nobody does.
fn scheduler(server: &PostgresServer) -> String {
    let select = "SELECT owner FROM leases WHERE name = 'scheduler' \
                  AND until_at > extract(epoch FROM now()) * 1000000";
    server.sql("postgres", select)
}

/// Backups of a VM that run now.
fn running(server: &PostgresServer, vm: &str) -> String {
    let select = format!(
        "SELECT id FROM jobs WHERE kind = 'backup' AND subject = '{vm}' AND state = 'in_progress'"
    );
    server.sql("postgres", &select)
}

/// Nothing is lost, and every point is in the catalog.
async fn assert_all_told(lab: &Lab, server: &PostgresServer) {
    kills::assert_all_told(lab).await;
    let listed = lab.run(&["points", "list"]).await.rows().len();
    let noted = server.sql("postgres", "SELECT count(*) FROM points");
    assert_eq!(noted, listed.to_string());
}

/// Ends services in peace.
async fn end(services: [(&Machine, Child); 2]) {
    for (machine, child) in services {
        signal(child.id().unwrap(), "TERM");
        let ended = tokio::time::timeout(PATIENCE, child.wait_with_output()).await;
        let told = fs::read_to_string(machine.log()).unwrap_or_default();
        assert!(ended.unwrap().unwrap().status.success(), "{told}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_services_share_the_work_and_one_that_is_killed_is_made_up_for() {
    let server = PostgresServer::start();
    let lab = lab_on(&server).await;
    let one = Machine::new(&lab, lab.state(), "db01").await;
    let two = Machine::new(&lab, lab.path("state-b"), "web01").await;
    assert_ne!(one.host(), two.host());
    lab.run(&["backup", two.vm]).await.raises("VmElsewhere");
    lab.run_with_state(&two.state, &["vm", "show", one.vm])
        .await
        .raises("VmElsewhere");

    let (first, told) = one.serve(&lab).await;
    // Two authorities would be two services to whoever talks to them.
    let alone = lab.run_with_state(&two.state, SERVE).await;
    let problem = alone.raises("AuthorityForeign");
    let fields = &problem["fields"];
    assert_eq!(fields["expected"], told["ca_fingerprint"], "{problem}");
    assert_eq!(fields["found"], "none", "{problem}");
    let identity = two.state.join("identity");
    assert!(!identity.exists(), "nothing was made");
    copy_dir(&one.state.join("identity"), &identity);
    let (second, _) = two.serve(&lab).await;

    one.has_more_points(&lab, 0).await;
    two.has_more_points(&lab, 0).await;
    for machine in [&one, &two] {
        let lanes = format!(
            "SELECT DISTINCT lane FROM jobs WHERE kind = 'backup' AND subject = '{}'",
            machine.vm
        );
        assert_eq!(server.sql("postgres", &lanes), machine.host());
    }

    // The one that schedules is killed while it backs up its VM.
    until(&one, async || !scheduler(&server).is_empty()).await;
    let owner = scheduler(&server);
    let ((dies, mut killed), (lives, left)) = match owner.contains(&one.host()) {
        true => ((&one, first), (&two, second)),
        false => ((&two, second), (&one, first)),
    };
    until(dies, async || !running(&server, dies.vm).is_empty()).await;
    let cut_off = running(&server, dies.vm);
    killed.start_kill().unwrap();
    killed.wait().await.unwrap();
    let (of_dead, of_living) = (
        points(&lab, dies.vm).await.len(),
        points(&lab, lives.vm).await.len(),
    );
    until(lives, async || {
        let now = scheduler(&server);
        !now.is_empty() && now != owner
    })
    .await;
    lives.has_more_points(&lab, of_living).await;
    assert_unharmed_while_left(&dies.guest).await;

    let (again, _) = dies.serve(&lab).await;
    dies.has_more_points(&lab, of_dead).await;
    end([(dies, again), (lives, left)]).await;
    for machine in [&one, &two] {
        assert_unharmed(&machine.guest).await;
    }
    let shown = lab.run(&["jobs", "show", &cut_off]).await.ok();
    let state = shown["state"].as_str().unwrap();
    let ends = ["failed", "completed", "completed_with_warnings"];
    assert!(ends.contains(&state), "{shown}");
    assert_all_told(&lab, &server).await;

    // An authority of its own can be made the one that counts.
    fs::remove_dir_all(&identity).unwrap();
    let adopt = [SERVE, &["--adopt-authority"]].concat();
    let mut command = lab.command_with_state(&two.state, &adopt);
    let mut alone = command.spawn().unwrap();
    serving(&mut alone).await;
    signal(alone.id().unwrap(), "TERM");
    finish(&adopt, alone).await.ok();
    lab.run(SERVE).await.raises("AuthorityForeign");
}

/// The killed service's job is not unwound yet, and the guest writes all the same.
async fn assert_unharmed_while_left(guest: &Guest) {
    let written = guest.exec("echo alive > /data/alive && sync").await;
    written.unwrap().ok().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_goes_away_and_comes_back_stops_nothing_for_good() {
    let mut server = PostgresServer::start();
    let lab = lab_on(&server).await;
    let one = Machine::new(&lab, lab.state(), "db01").await;
    let (serve, told) = one.serve(&lab).await;
    let url = told["url"].as_str().unwrap().trim_end_matches('/');
    let token = told["admin_token"].as_str().unwrap();
    let bearer = format!("Authorization: Bearer {token}");
    let ask = ["-H", bearer.as_str()];
    one.has_more_points(&lab, 0).await;

    for _ in 0..2 {
        until(&one, async || !running(&server, one.vm).is_empty()).await;
        let before = points(&lab, one.vm).await.len();
        server.stop();
        let (status, body) = request(&lab, url, "/api/v1/policies", &ask).await;
        assert_eq!(status, 503, "{body}");
        assert!(body.contains("DatabaseUnreachable"), "{body}");
        lab.run(&["vm", "list"]).await.raises("DatabaseUnreachable");
        // Whatever became of the job, the guest writes.
        assert_unharmed_while_left(&one.guest).await;
        server.start_again(&[]);
        one.has_more_points(&lab, before).await;
        let (status, body) = request(&lab, url, "/api/v1/policies", &ask).await;
        assert_eq!(status, 200, "{body}");
    }
    signal(serve.id().unwrap(), "TERM");
    finish(SERVE, serve).await;
    assert_unharmed(&one.guest).await;
    assert_all_told(&lab, &server).await;
}

//! The processes that are killed: this program's own ignored tests, which say on standard output what
//! they have done.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use bytes::Bytes;
use tresor_model::{PointId, SessionId};
use tresor_vault::{CollectOptions, ErrorKind, SessionOptions, Vault};

use crate::disk::{CHUNKS, content};
use crate::open;
use crate::vault_support::{CHUNK, key, name, point};

const PLACE: &str = "TRESOR_KILL_PLACE";
const VERSION: &str = "TRESOR_KILL_VERSION";
/// Points that the collector lets be.
const KEPT: usize = 2;
/// A session of this age is taken for a dead one's: some that live are hit too. On a directory one takes
/// about so long, over HTTP ten times that.
const PATIENCE: Duration = Duration::from_millis(60);

#[expect(
    clippy::print_stdout,
    reason = "standard output is the pipe to the parent"
)]
fn say(text: &str) {
    println!("SAID {text}");
}

async fn vault() -> Vault {
    let place = std::env::var(PLACE).unwrap();
    Vault::open(open(&place).await, &key()).await.unwrap()
}

/// Run by the parent only: there is nothing here that could fail by itself.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "the writer that `nothing_is_lost_by_kills` starts and kills"]
async fn child_writes_forever() {
    let first: u64 = std::env::var(VERSION).unwrap().parse().unwrap();
    let vault = vault().await;
    say("started");
    for version in first.. {
        // The collector may take it for dead.
        while let Err(error) = write(&vault, version).await {
            assert!(
                matches!(error.kind(), ErrorKind::SessionLost { .. }),
                "{error:?}"
            );
            say("lost");
        }
    }
}

async fn write(vault: &Vault, version: u64) -> Result<(), tresor_vault::Error> {
    let mut options = SessionOptions::new(SessionId::generate());
    options.pack_size = 256 << 10;
    let session = vault.begin_session(options).await?;
    let stream = session.stream(name("vda"), CHUNKS * CHUNK, None);
    let mut writer = stream.await?;
    for chunk in 0..CHUNKS {
        let bytes = Bytes::from(content(chunk, version));
        writer.write(chunk * CHUNK, bytes).await?;
    }
    let (record, stats) = writer.finish().await?;
    let id = session.id();
    let mut made = point(id, vec![record]);
    made.vm_name = version.to_string();
    made.sequence = version + 1;
    session.commit(made).await?;
    let (new, id) = (stats.new, PointId::from(id));
    say(&format!("acked {version} {new} {id}"));
    Ok(())
}

/// Run by the parent only.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "the collector that `nothing_is_lost_by_kills` starts and kills"]
async fn child_collects_forever() {
    let vault = vault().await;
    say("started");
    let options = CollectOptions {
        min_gain: 1,
        margin: PATIENCE * crate::slowness(&std::env::var(PLACE).unwrap()),
        wait: Duration::ZERO,
        ..CollectOptions::default()
    };
    loop {
        let mut points = vault.points().await.unwrap().points;
        points.sort_by_key(|point| std::cmp::Reverse(point.sequence));
        for old in points.iter().skip(KEPT) {
            say(&format!("expires {}", old.id));
            vault.expire(old.id).await.unwrap();
        }
        let report = vault.collect(&options, |_| ()).await.unwrap();
        for done in report.resumed.iter().chain(&report.collected) {
            say(&format!("freed {}", done.deleted_packs));
        }
    }
}

/// One of them.
pub(crate) struct Running {
    child: Child,
    said: Box<dyn Iterator<Item = String>>,
}

impl Running {
    pub(crate) fn writer(place: &str, version: u64) -> Self {
        Self::start("children::child_writes_forever", place, version)
    }

    pub(crate) fn collector(place: &str) -> Self {
        Self::start("children::child_collects_forever", place, 0)
    }

    fn start(test: &str, place: &str, version: u64) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", test, "--ignored", "--nocapture"])
            .env(PLACE, place)
            .env(VERSION, version.to_string())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let said = lines
            .map_while(Result::ok)
            .filter_map(|line| Some(line.split_once("SAID ")?.1.to_owned()));
        let said = Box::new(said);
        Self { child, said }
    }

    /// Waits until it has opened the vault.
    pub(crate) fn started(&mut self) {
        assert_eq!(self.said.next().as_deref(), Some("started"));
    }

    /// Kills it; gives what it had said.
    pub(crate) fn kill(mut self) -> Vec<Vec<String>> {
        assert!(
            self.child.try_wait().unwrap().is_none(),
            "it ended by itself"
        );
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        let said = self.said.by_ref();
        said.map(|line| line.split(' ').map(str::to_owned).collect())
            .collect()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

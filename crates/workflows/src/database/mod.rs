//! Backup of the installation's own database into a vault, as a recovery point that is no VM's
//! (docs/format/database.md).
//!
//! | sub-task | action | undo |
//! | --- | --- | --- |
//! | Read database | a dump of one moment of it, into a file that has no name | none: it goes with the process |
//! | Transfer data to vault | a session with one stream | end the session |
//! | Commit recovery point | the session's end: commits | none |
//! | Remove old backups | keep the newest of 7 days and of 4 weeks; what goes can be brought back for 7 days | none: each for itself |
//!
//! # After a crash
//! The session is ended in the vault, unless it has committed; the next backup begins anew.

mod backups;
mod point;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::File,
    io::{BufWriter, Seek as _},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::io::AsyncReadExt as _;
use tresor_catalog::Catalog;
use tresor_jobs::{JobPlan, RecoveryPolicy, Scope, SubTask};
use tresor_model::{HostId, JobId, JobKind, SessionId, StreamRecord, VaultId, VmId};
use tresor_policy::Rules;
use tresor_problem::{Kind, Problem};
use tresor_vault::{Ended, SessionOptions, Vault, WriteSession};
use tresor_vault_format::database::{DumpCounts, DumpFile, DumpHead, DumpWriter};

use crate::{
    expire::{Request, apply, sound_plan},
    translate::vault_problem,
};

pub use backups::{Backups, Source, source};
pub use point::NAME;

const LIMIT: Duration = Duration::from_secs(4 * 3600);
/// Of so many days and weeks the newest backup stays, and what goes can be brought back for so long.
const DAILY: u32 = 7;
const WEEKLY: u32 = 4;
const GRACE: &str = "7d";
/// So much is read from the dump at once.
const PIECE: usize = 4 << 20;

/// What a run works with.
pub struct Services {
    /// What is backed up.
    pub catalog: Arc<Catalog>,
    /// Where to.
    pub vault: Vault,
    /// Files of the state directory that belong to it.
    pub files: Vec<DumpFile>,
    /// The host that this machine is on a shared database.
    pub host: Option<HostId>,
    /// A directory for a file that holds secrets: the state directory.
    pub scratch: PathBuf,
    /// Where this machine keeps what it knows of the vault's index.
    pub index_cache: Option<PathBuf>,
}

/// A run's services, and what it has so far.
pub struct DatabaseContext {
    job: JobId,
    services: Services,
    dump: Option<(File, DumpHead, DumpCounts)>,
    writer: Option<(WriteSession, StreamRecord, Value)>,
}

impl DatabaseContext {
    /// A context for a run that has not begun.
    #[must_use]
    pub const fn new(job: JobId, services: Services) -> Self {
        Self {
            job,
            services,
            dump: None,
            writer: None,
        }
    }

    fn session(&self) -> SessionId {
        SessionId::from_uuid(*self.job.as_uuid())
    }

    fn failed(&self, error: &tresor_vault::Error) -> Problem {
        vault_problem(error, self.services.vault.location())
    }
}

/// The table of sub-tasks. `name` is the vault's.
#[must_use]
pub fn plan(job: JobId, name: &str, vault: VaultId) -> JobPlan<DatabaseContext> {
    JobPlan {
        id: job,
        kind: JobKind::Catalog,
        subject: name.to_owned(),
        lock: Some(format!("catalog:{vault}")),
        recovery: RecoveryPolicy::Unwind,
        params: json!({ "vault": name }),
        sub_tasks: vec![
            Box::new(ReadDatabase),
            Box::new(Transfer),
            Box::new(Commit),
            Box::new(RemoveOld),
        ],
    }
}

/// The vault's name of a recorded job.
///
/// # Errors
/// `Internal` when the parameters are not those of a backup of the database.
pub fn of_params(params: &Value) -> Result<String, Problem> {
    let vault = params["vault"].as_str().map(str::to_owned);
    vault.ok_or_else(|| internal("The job's parameters are not those of a backup of the database."))
}

fn internal(what: &str) -> Problem {
    let what = what.to_owned();
    Kind::Internal { what }.into()
}

fn of_catalog(error: &tresor_catalog::CatalogError) -> Problem {
    Problem::from(error)
}

struct ReadDatabase;

#[async_trait]
impl SubTask<DatabaseContext> for ReadDatabase {
    fn name(&self) -> &'static str {
        "Read database"
    }

    fn limit(&self) -> Option<Duration> {
        Some(LIMIT)
    }

    async fn run(&self, ctx: &mut DatabaseContext, _: &Scope) -> Result<Value, Problem> {
        let services = &ctx.services;
        let unusable = |error: std::io::Error| -> Problem {
            let (path, reason) = (services.scratch.display().to_string(), error.to_string());
            Problem::caused_by(Kind::StateUnusable { path, reason }, &error)
        };
        let head = DumpHead {
            schema: 0,
            made_at: Timestamp::now(),
            installation: services
                .catalog
                .installation()
                .await
                .map_err(|error| of_catalog(&error))?,
            program: env!("CARGO_PKG_VERSION").to_owned(),
            host: services.host,
        };
        let file = nameless(&services.scratch).map_err(unusable)?;
        let mut out = DumpWriter::new(BufWriter::new(file.try_clone().map_err(unusable)?));
        let dumped = services
            .catalog
            .dump(head.clone(), &services.files, &mut out)
            .await;
        let counts = dumped.map_err(|error| of_catalog(&error))?;
        ctx.dump = Some((file, head, counts));
        Ok(json!(counts))
    }
}

/// A file for this process alone, gone when it is closed: it holds private keys.
fn nameless(dir: &std::path::Path) -> std::io::Result<File> {
    use rustix::fs::{Mode, OFlags};
    let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
    match rustix::fs::open(dir, flags, Mode::RUSR | Mode::WUSR) {
        Ok(file) => Ok(File::from(file)),
        // Some file systems (NFS, overlay) have none without a name.
        Err(_) => {
            use std::os::unix::fs::OpenOptionsExt as _;
            let path = dir.join(format!(".database-{}", JobId::generate()));
            let file = File::options()
                .read(true)
                .write(true)
                .create_new(true)
                .mode(0o600)
                .open(&path)?;
            std::fs::remove_file(&path)?;
            Ok(file)
        }
    }
}

struct Transfer;

#[async_trait]
impl SubTask<DatabaseContext> for Transfer {
    fn name(&self) -> &'static str {
        "Transfer data to vault"
    }

    fn limit(&self) -> Option<Duration> {
        Some(LIMIT)
    }

    async fn run(&self, ctx: &mut DatabaseContext, scope: &Scope) -> Result<Value, Problem> {
        if let Some((_, _, done)) = &ctx.writer {
            return Ok(done.clone());
        }
        let dump = ctx.dump.as_ref();
        let (file, _, counts) = dump.ok_or_else(|| internal("The database was not read."))?;
        let options = SessionOptions {
            index_cache: ctx.services.index_cache.clone(),
            ..SessionOptions::new(ctx.session())
        };
        let begun = ctx.services.vault.begin_session(options).await;
        let writer = begun.map_err(|error| ctx.failed(&error))?;
        let stream = writer.stream(point::stream_name()?, counts.bytes, None);
        let mut stream = stream.await.map_err(|error| ctx.failed(&error))?;
        let unreadable = |error: std::io::Error| internal(&format!("The dump is gone: {error}."));
        let mut file = file.try_clone().map_err(unreadable)?;
        file.rewind().map_err(unreadable)?;
        let mut file = tokio::fs::File::from_std(file);
        let mut at = 0;
        while at < counts.bytes {
            let wanted = usize::try_from(counts.bytes - at)
                .unwrap_or(PIECE)
                .min(PIECE);
            let mut piece = vec![0; wanted];
            file.read_exact(&mut piece).await.map_err(unreadable)?;
            let written = stream.write(at, Bytes::from(piece)).await;
            written.map_err(|error| ctx.failed(&error))?;
            at += wanted as u64;
            scope.progress(at, Some(counts.bytes), "stores the database");
        }
        let finished = stream.finish().await;
        let (record, stats) = finished.map_err(|error| ctx.failed(&error))?;
        let done = json!({ "read": stats.read, "new": stats.new, "stored": stats.stored });
        ctx.writer = Some((writer, record, done.clone()));
        Ok(done)
    }

    async fn undo(&self, ctx: &mut DatabaseContext, _: Option<&Value>) -> Result<(), Problem> {
        ctx.writer = None;
        let ended = ctx.services.vault.abort_session(ctx.session()).await;
        ended.map(drop).map_err(|error| ctx.failed(&error))
    }
}

struct Commit;

#[async_trait]
impl SubTask<DatabaseContext> for Commit {
    fn name(&self) -> &'static str {
        "Commit recovery point"
    }

    fn limit(&self) -> Option<Duration> {
        Some(LIMIT)
    }

    async fn run(&self, ctx: &mut DatabaseContext, scope: &Scope) -> Result<Value, Problem> {
        let dump = ctx.dump.as_ref();
        let (_, head, _) = dump.ok_or_else(|| internal("The database was not read."))?;
        let written = ctx.writer.take();
        let (writer, stream, done) =
            written.ok_or_else(|| internal("Nothing was written to the vault."))?;
        let last = Backups::of(&ctx.services.vault).await?;
        let last = last.newest_of(head.installation);
        if let Some(other) = another_writer(&ctx.services.catalog, head.installation, last).await? {
            scope.warn(other);
        }
        let sequence = last.map_or(0, |last| last.sequence) + 1;
        let point = point::assemble(ctx.job, head, sequence, stream);
        let (id, at) = (point.id, point.taken_at);
        let committed = writer.commit(point).await;
        committed.map_err(|error| ctx.failed(&error))?;
        Ok(told(id, at, done["stored"].as_u64().unwrap_or(0)))
    }

    fn commits(&self) -> bool {
        true
    }

    async fn settle(&self, ctx: &mut DatabaseContext) -> Result<Option<Value>, Problem> {
        let session = ctx.session();
        let ended = ctx.services.vault.abort_session(session).await;
        match ended.map_err(|error| ctx.failed(&error))? {
            Ended::WasCommitted => {
                let point = ctx.services.vault.point(session.into()).await;
                let point = point.map_err(|error| ctx.failed(&error))?;
                Ok(Some(told(point.id, point.taken_at, 0)))
            }
            Ended::AbortedNow | Ended::WasAborted => Ok(None),
        }
    }
}

fn told(point: tresor_model::PointId, taken_at: Timestamp, stored: u64) -> Value {
    json!({ "point": point, "taken_at": taken_at, "stored": stored })
}

struct RemoveOld;

#[async_trait]
impl SubTask<DatabaseContext> for RemoveOld {
    fn name(&self) -> &'static str {
        "Remove old backups"
    }

    fn limit(&self) -> Option<Duration> {
        Some(LIMIT)
    }

    async fn run(&self, ctx: &mut DatabaseContext, scope: &Scope) -> Result<Value, Problem> {
        let (vault, catalog) = (&ctx.services.vault, &ctx.services.catalog);
        let installation = catalog
            .installation()
            .await
            .map_err(|error| of_catalog(&error))?;
        let rules = Rules {
            daily: DAILY,
            weekly: WEEKLY,
            ..Rules::default()
        };
        let request = Request {
            vault: vault.id(),
            rules: BTreeMap::from([(installation, rules)]),
            unwanted: BTreeSet::new(),
            zone: "UTC".to_owned(),
            grace: GRACE.to_owned(),
        };
        let list = vault.points().await.map_err(|error| ctx.failed(&error))?;
        let plan = sound_plan(request, vault, &list, |point| {
            scope.warn(format!(
                "Backup {point} has lost data, so older ones stay for it."
            ));
        });
        let removed = apply(vault, &plan.await?).await?;
        Ok(json!({ "removed": removed }))
    }
}

/// Whether another service has backed up under this installation's id: one was restored while the other one
/// still works, or came back.
async fn another_writer(
    catalog: &Catalog,
    installation: VmId,
    last: Option<&tresor_vault::PointSummary>,
) -> Result<Option<Problem>, Problem> {
    use tresor_jobs::{JobLog as _, LogErrorKind};
    let Some(last) = last else {
        return Ok(None);
    };
    let restored = catalog
        .restored_at()
        .await
        .map_err(|error| of_catalog(&error))?;
    let is_of_before = restored.is_some_and(|at| last.committed_at <= at);
    if is_of_before || last.copied_from.is_some() {
        return Ok(None);
    }
    // A job's id is its recovery point's.
    match catalog.load(JobId::from_uuid(*last.id.as_uuid())).await {
        Ok(_) => Ok(None),
        Err(error) if error.kind == LogErrorKind::NotFound => Ok(Some(
            Kind::AnotherServiceWrites {
                installation: installation.to_string(),
                point: last.id.to_string(),
                at: last.committed_at.to_string(),
            }
            .into(),
        )),
        Err(error) => Err(Problem::from(&error)),
    }
}

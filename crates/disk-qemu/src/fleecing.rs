//! The fleecing store of one disk: where the old content of overwritten blocks goes.
//!
//! # Invariants
//! - The store never grows beyond its limit: the file is made that long (sparse) and a `raw` node
//!   of that `size` refuses anything behind. The qcow2 above then gets "no space", the filter
//!   breaks the snapshot, and the guest's write succeeds.
//! - The file is created by us, new and private (0600), and given to the user QEMU runs as.

use std::{path::Path, time::Duration};

use serde_json::{Value, json};
use tresor_disk::{Error, ErrorKind};
use tresor_model::SnapshotTag;
use tresor_qmp::{
    Client, Peer,
    commands::{
        block::BlockdevAdd,
        job::{BlockdevCreate, Job, JobCancel, JobDismiss, QueryJobs},
    },
};

use crate::{
    failure,
    naming::{self, Role},
};

/// The least limit: an empty qcow2 needs a few clusters of 64 KiB.
const LEAST_LIMIT: u64 = 1 << 20;
/// Limits are rounded down to this.
const LIMIT_GRAIN: u64 = 64 << 10;
/// How long formatting may take (it writes a few hundred KiB).
const FORMAT_LIMIT: Duration = Duration::from_secs(60);
/// How often a job is looked at.
const POLL: Duration = Duration::from_millis(5);

/// What is wanted.
#[derive(Debug)]
pub(crate) struct Store<'a> {
    pub(crate) tag: &'a SnapshotTag,
    pub(crate) index: usize,
    pub(crate) path: &'a Path,
    /// Virtual size of the disk in bytes.
    pub(crate) disk_size: u64,
    /// Most bytes the file may hold.
    pub(crate) limit: Option<u64>,
}

impl Store<'_> {
    fn node(&self, role: Role) -> String {
        naming::node(self.tag, role, self.index)
    }

    /// Makes file, nodes and format; gives the name of the top node.
    pub(crate) async fn create(&self, client: &Client) -> Result<String, Error> {
        let limit = match self.limit {
            Some(limit) if limit < LEAST_LIMIT => {
                return Err(Error::new(
                    ErrorKind::Refused,
                    format!("use a fleecing limit of {limit} bytes: the least is {LEAST_LIMIT}"),
                ));
            }
            limit => limit.map(|limit| limit - limit % LIMIT_GRAIN),
        };
        make_file(self.path, limit.unwrap_or(0), client.peer()).await?;
        let file = self.node(Role::File);
        let path = self.path.display().to_string();
        let mut top = file.clone();
        add(
            client,
            json!({"driver": "file", "node-name": file, "filename": path, "discard": "unmap"}),
        )
        .await?;
        if let Some(limit) = limit {
            let node = self.node(Role::Limit);
            add(
                client,
                json!({"driver": "raw", "node-name": node, "file": top, "size": limit}),
            )
            .await?;
            top = node;
        }
        self.format(client, &top).await?;
        let fleecing = self.node(Role::Fleecing);
        add(
            client,
            json!({"driver": "qcow2", "node-name": fleecing, "file": top, "discard": "unmap"}),
        )
        .await?;
        Ok(fleecing)
    }

    async fn format(&self, client: &Client, file: &str) -> Result<(), Error> {
        let step = "format the fleecing image";
        let job_id = naming::format_job(self.tag, self.index);
        let create = BlockdevCreate {
            job_id: job_id.clone(),
            options: json!({"driver": "qcow2", "file": file, "size": self.disk_size}),
        };
        client.run(&create).await.map_err(failure::qmp(step))?;
        let job = concluded(client, &job_id).await?;
        let dismiss = JobDismiss { id: job_id };
        client.run(&dismiss).await.map_err(failure::qmp(step))?;
        match job.and_then(|job| job.error) {
            None => Ok(()),
            Some(error) => Err(Error::new(ErrorKind::Host, step).because(error)),
        }
    }
}

/// Ends a job of ours whatever it is doing, and forgets it.
pub(crate) async fn end_job(client: &Client, id: &str) -> Result<(), Error> {
    let step = "end the job that formats the fleecing image";
    // Refused when it has concluded already, which is as good.
    let _cancelled = client.run(&JobCancel { id: id.to_owned() }).await;
    if concluded(client, id).await?.is_some() {
        let dismiss = JobDismiss { id: id.to_owned() };
        client.run(&dismiss).await.map_err(failure::qmp(step))?;
    }
    Ok(())
}

/// Waits until the job has concluded; `None` when it is gone.
async fn concluded(client: &Client, id: &str) -> Result<Option<Job>, Error> {
    let step = "wait for the fleecing image to be formatted";
    let wait = async {
        loop {
            let jobs = client
                .run(&QueryJobs {})
                .await
                .map_err(failure::qmp(step))?;
            match jobs.into_iter().find(|job| job.id == id) {
                Some(job) if job.status == "concluded" => return Ok(Some(job)),
                None => return Ok(None),
                Some(_) => tokio::time::sleep(POLL).await,
            }
        }
    };
    tokio::time::timeout(FORMAT_LIMIT, wait)
        .await
        .unwrap_or_else(|_elapsed| Err(Error::new(ErrorKind::Timeout, step)))
}

async fn add(client: &Client, options: Value) -> Result<(), Error> {
    client
        .run(&BlockdevAdd(options))
        .await
        .map_err(failure::qmp("add the fleecing image"))?;
    Ok(())
}

async fn make_file(path: &Path, length: u64, peer: Peer) -> Result<(), Error> {
    let path = path.to_owned();
    let step = format!("create the fleecing file {}", path.display());
    let made = tokio::task::spawn_blocking(move || {
        use std::os::unix::fs::OpenOptionsExt;
        let file = std::fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)?;
        file.set_len(length)?;
        give_to(&path, peer)
    });
    made.await
        .map_err(std::io::Error::other)
        .and_then(|result| result)
        .map_err(failure::host(step))
}

/// Lets the user that QEMU runs as own `path`, when that is somebody else.
pub(crate) fn give_to(path: &Path, peer: Peer) -> std::io::Result<()> {
    use std::os::unix::fs::MetadataExt;
    let metadata = std::fs::symlink_metadata(path)?;
    if metadata.uid() != peer.uid || metadata.gid() != peer.gid {
        std::os::unix::fs::lchown(path, Some(peer.uid), Some(peer.gid))?;
    }
    Ok(())
}

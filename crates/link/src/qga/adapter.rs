//! The agent as a [`Quiescer`].

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use async_trait::async_trait;
use tokio::time::Instant;

use super::{
    Connection, commands,
    evidence::{self, Seen},
    thaw::{NotThawed, thaw_until},
};
use crate::{
    AgentInfo, Freeze, FreezeRequest, GuardCommand, QuiesceError, QuiesceErrorKind, Quiescer, Thaw,
    guard::Guard,
};

/// How long an agent that is there may take to answer its first question.
const OPEN_LIMIT: Duration = Duration::from_secs(5);

/// How long to wait for a guest that says it is frozen.
const RECOVER_LIMIT: Duration = Duration::from_secs(30);

/// The QEMU guest agent of one guest.
#[derive(Debug)]
pub struct QemuGuestAgent {
    socket: PathBuf,
    guard_command: GuardCommand,
    guard: Option<Guard>,
    frozen: u32,
    note_before: Seen,
}

impl QemuGuestAgent {
    /// The agent behind `socket`: the host side of `org.qemu.guest_agent.0`. `guard` starts the
    /// process that owns freezes.
    #[must_use]
    pub fn new(socket: &Path, guard: GuardCommand) -> Self {
        Self {
            socket: socket.to_owned(),
            guard_command: guard,
            guard: None,
            frozen: 0,
            note_before: Seen::Nothing,
        }
    }

    async fn open(&self) -> Result<Connection, QuiesceError> {
        Connection::open(&self.socket, OPEN_LIMIT).await
    }

    /// The hook's note; reading it is best effort, not seeing it only lowers what is claimed.
    async fn note(&self) -> Seen {
        let read = match self.open().await {
            Ok(mut connection) => commands::read_file(&mut connection, evidence::NOTE).await,
            Err(error) => Err(error),
        };
        evidence::decide_seen(read)
    }
}

#[async_trait]
impl Quiescer for QemuGuestAgent {
    async fn probe(&mut self, limit: Duration) -> Result<AgentInfo, QuiesceError> {
        let mut connection = Connection::open(&self.socket, limit).await?;
        let mut info = commands::info(&mut connection).await?;
        drop(connection);
        info.has_hook = evidence::decide_has_hook(&self.note().await);
        Ok(info)
    }

    async fn flush(&mut self, limit: Duration) -> Result<(), QuiesceError> {
        let mut connection = self.open().await?;
        commands::sync(&mut connection, limit).await
    }

    async fn freeze(&mut self, request: FreezeRequest) -> Result<Freeze, QuiesceError> {
        self.note_before = self.note().await;
        let mut guard = Guard::start(&self.guard_command, &self.socket, request).await?;
        let file_systems = guard.freeze(request).await?;
        self.guard = Some(guard);
        self.frozen = file_systems;
        Ok(Freeze { file_systems })
    }

    async fn thaw(&mut self) -> Result<Thaw, QuiesceError> {
        let Some(guard) = self.guard.take() else {
            let text = "nothing was frozen through this channel";
            return Err(QuiesceError::new(QuiesceErrorKind::Refused, text));
        };
        let thawed = guard.thaw().await?;
        let (consistency, evidence) =
            evidence::decide_consistency(&self.note_before, &self.note().await);
        Ok(Thaw {
            file_systems: thawed.count,
            frozen_for: thawed.frozen_for,
            held: thawed.held && thawed.count >= self.frozen,
            consistency,
            evidence,
        })
    }

    async fn recover(&mut self) -> Result<(), QuiesceError> {
        self.guard = None; // its pipe closes: if it is there, it thaws too
        let mut connection = self.open().await?;
        if !commands::is_frozen(&mut connection).await? {
            return Ok(());
        }
        let deadline = Instant::now() + RECOVER_LIMIT;
        match thaw_until(&self.socket, Some(connection), deadline).await {
            Ok(_) | Err(NotThawed::Gone) => Ok(()),
            Err(NotThawed::Deadline(why)) => Err(QuiesceError::new(
                QuiesceErrorKind::LeftFrozen,
                format!("the guest was found frozen, and no thaw is confirmed: {why}"),
            )),
        }
    }
}

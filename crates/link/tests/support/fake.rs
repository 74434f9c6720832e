//! A guest agent with a script: for faults that the real one does not produce on demand. Serves
//! one client at a time, as QEMU's channel does, and answers in order, as the agent does.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader},
    net::{UnixListener, UnixStream},
    sync::watch,
    task::JoinHandle,
};

/// File systems of this guest.
pub(crate) const FILE_SYSTEMS: u32 = 3;

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    Nothing,
    /// The channel breaks in the freeze, which took place.
    DiesInFreeze,
    /// Not a byte comes once a freeze was asked for, until [`FakeAgent::revive`].
    HangsInFreeze,
    /// Not a byte comes once it is frozen, until [`FakeAgent::revive`].
    HangsOnceFrozen,
    /// The answer to a freeze is no JSON.
    Garbage,
    /// Answers of an earlier session come first, one of them cut.
    StaleAnswers,
    /// An answer without an end.
    EndlessLine,
    /// Bytes without an end before the answer to a sync.
    Flood,
    /// The answer to a sync has the id of another.
    WrongId,
    /// The first three thaws are refused.
    RefusesThawAtFirst,
    /// A thaw counts fewer file systems than the freeze.
    ThawsFewer,
    /// There is nothing to freeze.
    NoFileSystem,
    /// The agent may not freeze, and says so.
    FreezeBlocked,
    /// The agent says that it may freeze, and does not know the command.
    FreezeUnknown,
    /// Freezing some file systems succeeds, the next one fails.
    RefusesFreezeHalfway,
}

#[derive(Debug, Default)]
struct State {
    frozen: bool,
    thaws: u32,
    commands: Vec<String>,
}

/// The agent and the host side of its channel.
pub(crate) struct FakeAgent {
    socket: PathBuf,
    state: Arc<Mutex<State>>,
    revived: watch::Sender<bool>,
    task: JoinHandle<()>,
    _dir: tempfile::TempDir,
}

impl Drop for FakeAgent {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl FakeAgent {
    pub(crate) fn start(fault: Fault) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("qga");
        let listener = UnixListener::bind(&socket).unwrap();
        let state = Arc::<Mutex<State>>::default();
        let (revived, revival) = watch::channel(false);
        let session = Session {
            fault,
            state: state.clone(),
            revival,
        };
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                // A client that goes away in the middle ends its session, no more.
                session.clone().serve(stream).await.ok();
            }
        });
        Self {
            socket,
            state,
            revived,
            task,
            _dir: dir,
        }
    }

    pub(crate) fn socket(&self) -> &Path {
        &self.socket
    }

    pub(crate) fn is_frozen(&self) -> bool {
        self.state.lock().unwrap().frozen
    }

    /// How often a command was run.
    pub(crate) fn count(&self, command: &str) -> usize {
        let state = self.state.lock().unwrap();
        state.commands.iter().filter(|ran| *ran == command).count()
    }

    /// The agent comes back to its senses.
    pub(crate) fn revive(&self) {
        self.revived.send(true).unwrap();
    }
}

#[derive(Clone)]
struct Session {
    fault: Fault,
    state: Arc<Mutex<State>>,
    revival: watch::Receiver<bool>,
}

impl Session {
    async fn serve(mut self, stream: UnixStream) -> std::io::Result<()> {
        let (read, mut write) = stream.into_split();
        let mut read = BufReader::new(read);
        if self.fault == Fault::StaleAnswers {
            let stale =
                b"{\"return\": 5}\n\xff{\"return\": 42}\n{\"return\": \"frozen\"}\n\xff{\"ret";
            write.write_all(stale).await?;
        }
        let mut line = Vec::new();
        while {
            line.clear();
            read.read_until(b'\n', &mut line).await? > 0
        } {
            let at = line.iter().rposition(|byte| *byte == 0xff);
            let request: Value = serde_json::from_slice(&line[at.map_or(0, |at| at + 1)..])?;
            let command = request["execute"].as_str().unwrap_or_default().to_owned();
            if self.fault == Fault::Flood {
                loop {
                    write.write_all(&[b'x'; 4096]).await?;
                }
            }
            let Some(answer) = self.answer(&command, &request["arguments"]).await else {
                return Ok(());
            };
            write.write_all(&answer).await?;
        }
        Ok(())
    }

    /// The bytes of an answer; `None` when the channel breaks.
    async fn answer(&mut self, command: &str, arguments: &Value) -> Option<Vec<u8>> {
        self.wait_while_hung(command).await;
        let mut state = self.state.lock().unwrap();
        state.commands.push(command.to_owned());
        let value = match (command, self.fault) {
            ("guest-sync-delimited", fault) => {
                let id = arguments["id"].as_u64()?;
                let id = if fault == Fault::WrongId { id ^ 1 } else { id };
                let mut bytes = vec![0xff];
                bytes.extend(json!({ "return": id }).to_string().bytes());
                bytes.push(b'\n');
                return Some(bytes);
            }
            ("guest-info", fault) => info(fault != Fault::FreezeBlocked),
            ("guest-exec", _) => json!({ "pid": 7 }),
            ("guest-exec-status", _) => json!({ "exited": true, "exitcode": 0 }),
            ("guest-fsfreeze-status", _) if state.frozen => json!("frozen"),
            ("guest-fsfreeze-status", _) => json!("thawed"),
            ("guest-fsfreeze-freeze", Fault::FreezeUnknown) => {
                return Some(error("CommandNotFound", "no such command"));
            }
            ("guest-fsfreeze-freeze", Fault::NoFileSystem) => json!(0),
            ("guest-fsfreeze-freeze", fault) => {
                state.frozen = true;
                match fault {
                    Fault::DiesInFreeze => return None,
                    Fault::Garbage => return Some(b"\x00freeze\xfe?\n".to_vec()),
                    Fault::EndlessLine => return Some(vec![b'['; 3 << 20]),
                    Fault::RefusesFreezeHalfway => {
                        return Some(error("GenericError", "failed to freeze /mnt: busy"));
                    }
                    _ => json!(FILE_SYSTEMS),
                }
            }
            ("guest-fsfreeze-thaw", fault) => {
                state.thaws += 1;
                if fault == Fault::RefusesThawAtFirst && state.thaws <= 3 {
                    return Some(error("GenericError", "failed to thaw"));
                }
                match (std::mem::take(&mut state.frozen), fault) {
                    (true, Fault::ThawsFewer) => json!(FILE_SYSTEMS - 1),
                    (true, _) => json!(FILE_SYSTEMS),
                    (false, _) => json!(0),
                }
            }
            _ => return Some(error("CommandNotFound", "no such command")),
        };
        let answer = json!({ "return": value, "of-a-later-version": {} });
        Some(format!("{answer}\n").into_bytes())
    }

    async fn wait_while_hung(&mut self, command: &str) {
        let frozen = self.state.lock().unwrap().frozen;
        let hung = match self.fault {
            Fault::HangsInFreeze => command == "guest-fsfreeze-freeze",
            Fault::HangsOnceFrozen => frozen,
            _ => false,
        };
        if hung {
            self.revival.wait_for(|revived| *revived).await.ok();
        }
    }
}

fn info(can_freeze: bool) -> Value {
    let command = |name: &str| json!({ "name": name, "enabled": can_freeze, "x": 1 });
    json!({
        "version": "9.9",
        "supported_commands": [command("guest-fsfreeze-freeze"), command("guest-fsfreeze-thaw")],
    })
}

fn error(class: &str, desc: &str) -> Vec<u8> {
    format!("{}\n", json!({ "error": { "class": class, "desc": desc } })).into_bytes()
}

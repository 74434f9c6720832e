//! The program under test, as a user runs it: words in, JSON out, an exit code.

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, bail};
use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, BufReader, Lines},
    process::{Child, ChildStderr, Command},
    task::JoinHandle,
};

/// Nothing that is run here takes this long, even on a crowded machine.
const LIMIT: Duration = Duration::from_secs(300);
/// How long what a dead program printed may take to arrive.
const LAST_WORDS: Duration = Duration::from_secs(10);
/// How many lines of what a failed program said an error carries.
const TAIL_LINES: usize = 20;

/// A `tresor` with a state directory of its own.
#[derive(Debug, Clone)]
pub struct Program {
    path: PathBuf,
    state: PathBuf,
}

impl Program {
    /// The program at `path`, which keeps its state in `state`.
    #[must_use]
    pub fn new(path: PathBuf, state: PathBuf) -> Self {
        Self { path, state }
    }

    /// Its state directory.
    #[must_use]
    pub fn state(&self) -> &Path {
        &self.state
    }

    /// Starts it.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn start(&self, args: &[&str]) -> Result<Running> {
        self.start_with(args, &[])
    }

    /// Starts it with variables in its environment.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn start_with(&self, args: &[&str], environment: &[(&str, OsString)]) -> Result<Running> {
        let mut child = Command::new(&self.path)
            .args(["--output", "json", "--state-dir"])
            .arg(&self.state)
            .args(args)
            .env_remove("TRESOR_KEY_FILE")
            .env_remove("TRESOR_VAULT")
            .envs(environment.iter().cloned())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("cannot start {}", self.path.display()))?;
        let stderr = child.stderr.take().context("a child without stderr")?;
        let mut stdout = child.stdout.take().context("a child without stdout")?;
        let results = tokio::spawn(async move {
            let mut text = String::new();
            stdout.read_to_string(&mut text).await?;
            Ok(text)
        });
        Ok(Running {
            what: args.join(" "),
            child,
            lines: BufReader::new(stderr).lines(),
            said: String::new(),
            results,
        })
    }

    /// Runs it to its end.
    ///
    /// # Errors
    /// It cannot be started, or does not end.
    pub async fn run(&self, args: &[&str]) -> Result<Ended> {
        self.start(args)?.end().await
    }
}

/// A run that is under way.
#[derive(Debug)]
pub struct Running {
    what: String,
    child: Child,
    lines: Lines<BufReader<ChildStderr>>,
    said: String,
    results: JoinHandle<std::io::Result<String>>,
}

impl Running {
    /// Its process id; `None` once it has ended.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.child.id()
    }

    /// Waits until a sub-task is done, or the program has nothing more to say.
    ///
    /// # Errors
    /// It hangs.
    pub async fn until_done(&mut self, sub_task: &str) -> Result<()> {
        let done = format!("{sub_task}: done");
        self.until(|line| line.starts_with(&done)).await.map(drop)
    }

    /// Waits for a line on stderr; `None` when the program ended without it.
    ///
    /// # Errors
    /// It hangs.
    pub async fn until(&mut self, wanted: impl Fn(&str) -> bool) -> Result<Option<String>> {
        let listen = async {
            while let Some(line) = self.lines.next_line().await? {
                self.said.push_str(&line);
                self.said.push('\n');
                if wanted(&line) {
                    return Ok(Some(line));
                }
            }
            Ok(None)
        };
        let heard = tokio::time::timeout(LIMIT, listen).await;
        heard.with_context(|| format!("`tresor {}` hangs; it said\n{}", self.what, self.said))?
    }

    /// Kills it (`SIGKILL`) and waits until it is gone.
    ///
    /// # Errors
    /// It cannot be waited for.
    pub async fn kill(&mut self) -> Result<()> {
        self.child.kill().await.context("cannot kill the program")
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// It hangs, or printed what is no JSON.
    pub async fn end(mut self) -> Result<Ended> {
        self.until(|_| false).await?;
        let status = tokio::time::timeout(LIMIT, self.child.wait())
            .await
            .with_context(|| format!("`tresor {}` hangs", self.what))??;
        let printed = tokio::time::timeout(LAST_WORDS, self.results)
            .await
            .context("somebody keeps the program's stdout open")???;
        let results = printed
            .lines()
            .map(|line| {
                serde_json::from_str(line)
                    .with_context(|| format!("`tresor {}` printed {line:?}", self.what))
            })
            .collect::<Result<_>>()?;
        Ok(Ended {
            what: self.what,
            status,
            results,
            said: self.said,
        })
    }
}

/// What a run came to.
#[derive(Debug, Clone)]
pub struct Ended {
    what: String,
    /// How it ended.
    pub status: ExitStatus,
    /// What it printed, an object a line.
    pub results: Vec<Value>,
    /// What it said on stderr.
    pub said: String,
}

impl Ended {
    /// The last result of a run that must succeed.
    ///
    /// # Errors
    /// It did not; the message has what it said.
    pub fn ok(self) -> Result<Value> {
        let last = self.results.last().cloned().unwrap_or_default();
        if !self.status.success() {
            let lines: Vec<&str> = self.said.lines().collect();
            let tail = lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n");
            bail!("`tresor {}`: {}\n{tail}\n{last}", self.what, self.status);
        }
        Ok(last)
    }

    /// All results of a run that must succeed.
    ///
    /// # Errors
    /// It did not.
    pub fn all(self) -> Result<Vec<Value>> {
        let results = self.results.clone();
        self.ok().map(|_| results)
    }

    /// The code of the problem that ended it.
    #[must_use]
    pub fn problem(&self) -> Option<&str> {
        let last = self.results.last()?;
        (last["message_type"] == "problem").then(|| last["code"].as_str())?
    }
}

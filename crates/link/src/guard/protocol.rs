//! What parent and guard say to each other: JSON, one message a line. Pure.

use std::{ffi::OsString, path::PathBuf, time::Duration};

use serde::{Deserialize, Serialize};

use crate::{FreezeRequest, QuiesceErrorKind};

/// Longest line that either side takes.
pub(super) const MAX_LINE: u64 = 4096;

/// From the parent. Anything else, the end of the pipe included, ends the freeze too, but then it
/// did not hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Order {
    /// Freeze the guest.
    Freeze,
    /// Thaw it and end.
    Thaw,
}

/// From the guard.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Report {
    /// The agent answers; nothing was sent to it yet but a question.
    Ready,
    /// The guest is frozen.
    Frozen {
        /// File systems.
        file_systems: u32,
    },
    /// The guest is thawed, after it was frozen.
    Thawed {
        /// File systems.
        file_systems: u32,
        /// From the freeze command sent to the thaw answered, microseconds.
        frozen_us: u64,
        /// Whether the guest stayed frozen until the parent's word.
        held: bool,
    },
    /// The guest is not frozen, for this reason.
    Failed {
        /// Kind.
        kind: QuiesceErrorKind,
        /// In words.
        message: String,
    },
}

/// What a guard is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Duty {
    /// Owns a freeze from its start to its end.
    Freeze(FreezeRequest),
    /// Goes on thawing for a guard that died.
    Thaw,
}

/// What a guard is started with: its arguments, in this order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Task {
    pub(super) socket: PathBuf,
    pub(super) duty: Duty,
    /// Where it writes what it does.
    pub(super) log: Option<PathBuf>,
}

impl Task {
    pub(super) fn to_args(&self) -> Vec<OsString> {
        let mut args: Vec<OsString> = match self.duty {
            Duty::Freeze(request) => vec![
                "freeze".into(),
                request.freeze_limit.as_millis().to_string().into(),
                request.hold_limit.as_millis().to_string().into(),
            ],
            Duty::Thaw => vec!["thaw".into()],
        };
        args.push(self.socket.clone().into_os_string());
        args.extend(self.log.clone().map(PathBuf::into_os_string));
        args
    }

    pub(super) fn from_args(args: &[OsString]) -> Option<Self> {
        let millis = |text: &OsString| text.to_str()?.parse().ok().map(Duration::from_millis);
        let (word, args) = args.split_first()?;
        let (duty, args) = match (word.to_str()?, args) {
            ("freeze", [freeze_limit, hold_limit, rest @ ..]) => {
                let request = FreezeRequest {
                    freeze_limit: millis(freeze_limit)?,
                    hold_limit: millis(hold_limit)?,
                };
                (Duty::Freeze(request), rest)
            }
            ("thaw", rest) => (Duty::Thaw, rest),
            _ => return None,
        };
        let (socket, log) = match args {
            [socket] => (socket, None),
            [socket, log] => (socket, Some(log.into())),
            _ => return None,
        };
        Some(Self {
            socket: socket.into(),
            duty,
            log,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_survives_the_command_line() {
        let request = FreezeRequest {
            freeze_limit: Duration::from_millis(20_001),
            hold_limit: Duration::from_secs(10),
        };
        for duty in [Duty::Freeze(request), Duty::Thaw] {
            for log in [None, Some("/var/log/a b".into())] {
                let socket = "/run/a b".into();
                let task = Task { socket, duty, log };
                assert_eq!(Task::from_args(&task.to_args()), Some(task));
            }
        }
        for wrong in [
            &["x"][..],
            &["thaw"],
            &["freeze", "1", "s"],
            &["thaw", "a", "b", "c"],
            &[],
        ] {
            let args: Vec<OsString> = wrong.iter().map(Into::into).collect();
            assert_eq!(Task::from_args(&args), None);
        }
    }

    #[test]
    fn messages_are_as_documented() {
        let line = |report: &Report| serde_json::to_string(report).unwrap();
        assert_eq!(line(&Report::Ready), r#""ready""#);
        assert_eq!(
            line(&Report::Frozen { file_systems: 2 }),
            r#"{"frozen":{"file_systems":2}}"#
        );
        let thawed = Report::Thawed {
            file_systems: 2,
            frozen_us: 41_000,
            held: true,
        };
        assert_eq!(
            line(&thawed),
            r#"{"thawed":{"file_systems":2,"frozen_us":41000,"held":true}}"#
        );
        assert_eq!(
            serde_json::to_string(&Order::Freeze).unwrap(),
            r#""freeze""#
        );
    }
}

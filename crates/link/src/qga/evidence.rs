//! What the guest's freeze hook leaves, and what it proves (invariant I4). Pure.
//!
//! The agent runs a hook around the freeze, but does not say so. The hook that Tresor ships
//! (`guest/fsfreeze-hook`) notes in `/run/tresor/quiesce.json` which freeze it served:
//! `{"version":1,"sequence":7,"phase":"thaw","scripts":2,"failed":[]}`.

use serde::Deserialize;
use tresor_model::Consistency;

use crate::{QuiesceError, QuiesceErrorKind};

/// Where the hook leaves its note. On a tmpfs: it must be writable just before a freeze.
pub(super) const NOTE: &str = "/run/tresor/quiesce.json";

/// The hook's note.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(super) struct Note {
    sequence: u64,
    phase: String,
    scripts: u32,
    #[serde(default)]
    failed: Vec<String>,
}

/// What reading the note came to. Not to see a note is something else than to see that there is
/// none: an old note that could not be read before a freeze must not pass for a new one after it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) enum Seen {
    /// Nobody looked.
    #[default]
    Nothing,
    /// It could not be read, and why.
    NotObserved(String),
    /// There is none.
    Absent,
    /// This one.
    Note(Note),
}

/// What was seen, from the answer to reading the file.
pub(super) fn decide_seen(read: Result<Vec<u8>, QuiesceError>) -> Seen {
    match read {
        Ok(bytes) => parse(&bytes).map_or_else(
            || Seen::NotObserved("the freeze hook's note cannot be understood".to_owned()),
            Seen::Note,
        ),
        // Only the guest's words tell a file that is not there from one that may not be read. In
        // a guest of another language this errs on the safe side.
        Err(error)
            if error.kind == QuiesceErrorKind::Refused
                && error.message.contains("No such file or directory") =>
        {
            Seen::Absent
        }
        Err(error) => Seen::NotObserved(error.message),
    }
}

/// Whether the guest has Tresor's hook, where that is known. The note appears with the first
/// freeze after a boot: before it there is no sign of a hook.
pub(super) fn decide_has_hook(seen: &Seen) -> Option<bool> {
    match seen {
        Seen::Nothing | Seen::NotObserved(_) => None,
        Seen::Absent => Some(false),
        Seen::Note(_) => Some(true),
    }
}

/// Decodes a note; `None` when it is none of a known kind.
pub(super) fn parse(bytes: &[u8]) -> Option<Note> {
    #[derive(Deserialize)]
    struct Version {
        version: u32,
    }
    let version: Version = serde_json::from_slice(bytes).ok()?;
    (version.version == 1).then(|| serde_json::from_slice(bytes).ok())?
}

/// What a freeze was good for, from what was seen before it and after the thaw.
pub(super) fn decide_consistency(before: &Seen, after: &Seen) -> (Consistency, String) {
    match (before, after) {
        (_, Seen::Nothing) | (Seen::Nothing, _) => {
            file_system("whether applications were told is not known: nobody looked")
        }
        (_, Seen::NotObserved(why)) | (Seen::NotObserved(why), Seen::Note(_)) => file_system(
            &format!("whether applications were told is not known: {why}"),
        ),
        (_, Seen::Absent) => {
            file_system("applications were not told: the guest has no freeze hook of Tresor's")
        }
        (Seen::Note(before), Seen::Note(after)) if before.sequence >= after.sequence => {
            file_system("the freeze hook did not run for this freeze")
        }
        (Seen::Absent | Seen::Note(_), Seen::Note(after)) => decide_served(after),
    }
}

/// What the note of this very freeze says.
fn decide_served(note: &Note) -> (Consistency, String) {
    if !note.failed.is_empty() {
        let failed: Vec<_> = note.failed.iter().take(5).map(|name| cut(name)).collect();
        return file_system(&format!(
            "the freeze hook's scripts failed: {}",
            failed.join(", ")
        ));
    }
    if note.phase != "thaw" {
        return file_system("the freeze hook did not come to its end");
    }
    match note.scripts {
        0 => file_system("the freeze hook ran, but no script quiesces an application"),
        scripts => (
            Consistency::Application,
            format!("the freeze hook quiesced applications by {scripts} scripts, all successful"),
        ),
    }
}

fn file_system(why: &str) -> (Consistency, String) {
    (Consistency::FileSystem, why.to_owned())
}

fn cut(name: &str) -> String {
    name.chars()
        .filter(|character| !character.is_control())
        .take(60)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn note(sequence: u64, phase: &str, scripts: u32, failed: &[&str]) -> Note {
        let failed = failed.iter().map(|name| (*name).to_owned()).collect();
        Note {
            sequence,
            phase: phase.to_owned(),
            scripts,
            failed,
        }
    }

    fn seen(sequence: u64, phase: &str, scripts: u32, failed: &[&str]) -> Seen {
        Seen::Note(note(sequence, phase, scripts, failed))
    }

    #[test]
    fn only_a_hook_that_served_this_freeze_whole_counts() {
        use Consistency::{Application, FileSystem};
        let good = seen(8, "thaw", 2, &[]);
        let blind = Seen::NotObserved("guest-file-open is disabled".to_owned());
        for (before, after, expected) in [
            (seen(7, "thaw", 2, &[]), good.clone(), Application),
            (Seen::Absent, good.clone(), Application),
            (good.clone(), good.clone(), FileSystem),
            (seen(9, "thaw", 2, &[]), good.clone(), FileSystem),
            (blind.clone(), good.clone(), FileSystem),
            (good.clone(), blind, FileSystem),
            (Seen::Nothing, good.clone(), FileSystem),
            (good.clone(), Seen::Absent, FileSystem),
            (Seen::Absent, seen(8, "freeze", 2, &[]), FileSystem),
            (Seen::Absent, seen(8, "thaw", 2, &["db"]), FileSystem),
            (Seen::Absent, seen(8, "thaw", 0, &[]), FileSystem),
            (Seen::Absent, Seen::Absent, FileSystem),
        ] {
            let (achieved, evidence) = decide_consistency(&before, &after);
            assert_eq!(achieved, expected, "{before:?} {after:?}: {evidence}");
        }
    }

    #[test]
    fn not_seen_is_not_absent() {
        let refused = |text: &str| Err(QuiesceError::new(QuiesceErrorKind::Refused, text));
        let absent = decide_seen(refused("failed to open file: No such file or directory"));
        assert_eq!(absent, Seen::Absent);
        assert_eq!(decide_has_hook(&absent), Some(false));
        let denied = decide_seen(refused("failed to open file: Permission denied"));
        assert_eq!(decide_has_hook(&denied), None);
        let disabled = QuiesceError::new(QuiesceErrorKind::Disabled, "disabled");
        assert_eq!(decide_has_hook(&decide_seen(Err(disabled))), None);
        assert_eq!(decide_has_hook(&decide_seen(Ok(b"junk".to_vec()))), None);
        assert_eq!(decide_has_hook(&seen(1, "thaw", 0, &[])), Some(true));
    }

    #[test]
    fn a_strange_note_is_no_note() {
        for bytes in [
            &b""[..],
            b"null",
            b"{}",
            b"{\"version\":2}",
            b"{\"version\":1}",
            b"\xff",
        ] {
            assert_eq!(parse(bytes), None);
        }
        let bytes = br#"{"version":1,"sequence":8,"phase":"thaw","scripts":2,"failed":[],"x":1}"#;
        assert_eq!(parse(bytes), Some(note(8, "thaw", 2, &[])));
    }
}

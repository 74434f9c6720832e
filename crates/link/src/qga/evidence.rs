//! What the guest's freeze hook leaves, and what it proves (invariant I4). Pure.
//!
//! The agent runs a hook around the freeze, but does not say so. The hook that Tresor ships
//! (`guest/fsfreeze-hook`) notes in `/run/tresor/quiesce.json` which freeze it served:
//! `{"version":1,"sequence":7,"phase":"thaw","scripts":2,"failed":[]}`.

use serde::Deserialize;
use tresor_model::Consistency;

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

/// Decodes a note; `None` when it is none of a known kind.
pub(super) fn parse(bytes: &[u8]) -> Option<Note> {
    #[derive(Deserialize)]
    struct Version {
        version: u32,
    }
    let version: Version = serde_json::from_slice(bytes).ok()?;
    (version.version == 1).then(|| serde_json::from_slice(bytes).ok())?
}

/// What a freeze was good for, from the notes read before it and after the thaw.
pub(super) fn decide_consistency(
    before: Option<&Note>,
    after: Option<&Note>,
) -> (Consistency, String) {
    let Some(after) = after else {
        return (
            Consistency::FileSystem,
            "applications were not told: the guest has no freeze hook of Tresor's".to_owned(),
        );
    };
    let served = before.is_none_or(|before| before.sequence < after.sequence);
    match (served, after.failed.as_slice(), after.scripts) {
        (false, ..) => (
            Consistency::FileSystem,
            "the freeze hook did not run for this freeze".to_owned(),
        ),
        (true, [], 0) => (
            Consistency::FileSystem,
            "the freeze hook ran, but no script quiesces an application".to_owned(),
        ),
        (true, [], scripts) if after.phase == "thaw" => (
            Consistency::Application,
            format!("the freeze hook quiesced applications by {scripts} scripts, all successful"),
        ),
        (true, [], _) => (
            Consistency::FileSystem,
            "the freeze hook did not come to its end".to_owned(),
        ),
        (true, failed, _) => {
            let failed: Vec<_> = failed.iter().take(5).map(|name| cut(name)).collect();
            let names = failed.join(", ");
            (
                Consistency::FileSystem,
                format!("the freeze hook's scripts failed: {names}"),
            )
        }
    }
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

    #[allow(clippy::needless_pass_by_value, reason = "reads as a table")]
    fn achieved(before: Option<Note>, after: Option<Note>) -> Consistency {
        decide_consistency(before.as_ref(), after.as_ref()).0
    }

    #[test]
    fn only_a_hook_that_served_this_freeze_whole_counts() {
        use Consistency::{Application, FileSystem};
        let good = || Some(note(8, "thaw", 2, &[]));
        assert_eq!(achieved(Some(note(7, "thaw", 2, &[])), good()), Application);
        assert_eq!(achieved(None, good()), Application);
        assert_eq!(
            achieved(good(), good()),
            FileSystem,
            "a note of an earlier freeze"
        );
        assert_eq!(achieved(None, Some(note(8, "freeze", 2, &[]))), FileSystem);
        assert_eq!(
            achieved(None, Some(note(8, "thaw", 2, &["db"]))),
            FileSystem
        );
        assert_eq!(achieved(None, Some(note(8, "thaw", 0, &[]))), FileSystem);
        assert_eq!(achieved(None, None), FileSystem);
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

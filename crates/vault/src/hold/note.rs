//! What this machine knows that a store holds.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tresor_model::PointId;

/// What a store was seen to hold, and until when. A convenience: what is not in it, the store is asked
/// about again. Nothing in it becomes false by itself, since a hold is never shortened.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct HeldNote {
    /// Seconds since 1970, by the names of objects.
    objects: BTreeMap<String, i64>,
    /// The same for points of which everything is held.
    points: BTreeMap<PointId, i64>,
}

impl HeldNote {
    /// Reads it. One that is not there, or cannot be read, knows nothing.
    pub async fn load(path: &Path) -> Self {
        let Ok(text) = tokio::fs::read(path).await else {
            return Self::default();
        };
        serde_json::from_slice(&text).unwrap_or_else(|error| {
            tracing::warn!(path = %path.display(), %error, "what the store holds is asked anew");
            Self::default()
        })
    }

    /// Writes it, without what is over.
    ///
    /// # Errors
    /// When the file cannot be written; then the store is asked again next time.
    pub async fn save(&mut self, path: &Path) -> io::Result<()> {
        let now = Timestamp::now().as_second();
        self.objects.retain(|_, until| *until > now);
        self.points.retain(|_, until| *until > now);
        let text = serde_json::to_vec(self)?;
        if let Some(dir) = path.parent() {
            tokio::fs::create_dir_all(dir).await?;
        }
        // Whole or not at all: a part of it would be read as damage, which only costs.
        let half = path.with_extension("new");
        tokio::fs::write(&half, text).await?;
        tokio::fs::rename(&half, path).await
    }

    pub(super) fn has(&self, object: &str, until: Timestamp) -> bool {
        covers(self.objects.get(object), until)
    }

    pub(super) fn add(&mut self, object: String, until: Timestamp) {
        let held = self.objects.entry(object).or_insert(i64::MIN);
        *held = (*held).max(until.as_second());
    }

    pub(super) fn has_point(&self, point: PointId, until: Timestamp) -> bool {
        covers(self.points.get(&point), until)
    }

    pub(super) fn add_point(&mut self, point: PointId, until: Timestamp) {
        let held = self.points.entry(point).or_insert(i64::MIN);
        *held = (*held).max(until.as_second());
    }
}

/// In whole seconds, as stores keep dates.
fn covers(held: Option<&i64>, until: Timestamp) -> bool {
    held.is_some_and(|held| *held >= until.as_second())
}

#[cfg(test)]
mod tests {
    use tresor_model::SessionId;

    use super::*;

    #[tokio::test]
    async fn it_is_kept_without_what_is_over() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("below/note.json");
        let (past, future) = (Timestamp::UNIX_EPOCH, Timestamp::MAX);
        let point = PointId::from(SessionId::generate());
        let mut note = HeldNote::default();
        note.add("a".to_owned(), future);
        note.add("a".to_owned(), past);
        note.add("b".to_owned(), past);
        note.add_point(point, future);
        assert!(note.has("a", future) && note.has("b", past));
        assert!(!note.has("b", future) && !note.has("c", past));
        note.save(&path).await.expect("saved");
        let again = HeldNote::load(&path).await;
        assert_eq!(again, note);
        assert!(again.has("a", future) && !again.has("b", past));
        assert!(again.has_point(point, future));
        std::fs::write(&path, "{").expect("written");
        assert_eq!(HeldNote::load(&path).await, HeldNote::default());
    }
}

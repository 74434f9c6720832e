//! The operations, and what each one makes of a damaged vault.

use std::sync::Arc;

use tresor_backend::MemoryBackend;
use tresor_model::PointId;
use tresor_vault::{
    Error, ErrorKind, ObjectsReport, Result, Vault, check_structure, verify_objects,
};

use crate::kinds::Kind;
use crate::sample::{Backup, Sample, TARGET};
use crate::support::{back_up, eager, key, read_all};

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Operation {
    List,
    Restore,
    VerifyObjects,
    VerifyPoint,
    NextBackup,
    Collect,
    Check,
}

pub(crate) const OPERATIONS: [Operation; 7] = [
    Operation::List,
    Operation::Restore,
    Operation::VerifyObjects,
    Operation::VerifyPoint,
    Operation::NextBackup,
    Operation::Collect,
    Operation::Check,
];

impl Operation {
    pub(crate) const fn words(self) -> &'static str {
        match self {
            Self::List => "list",
            Self::Restore => "restore",
            Self::VerifyObjects => "verify objects",
            Self::VerifyPoint => "verify point",
            Self::NextBackup => "next backup",
            Self::Collect => "collect",
            Self::Check => "check",
        }
    }
}

/// What an operation makes of it. Wrong content is none of these: it fails the test.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Verdict {
    /// The operation says that something is wrong, and which object.
    Named,
    /// It says that something is wrong, with a name that is not the object's.
    Told,
    /// It does what it does in a whole vault, rightly.
    Right,
    /// It does something else than in a whole vault, and does not call it damage.
    Unseen,
}

/// What the vault is asked and answers.
pub(crate) struct Case<'a> {
    pub(crate) sample: &'a Sample,
    pub(crate) kind: Kind,
    pub(crate) backend: Arc<MemoryBackend>,
    /// The object that was damaged.
    pub(crate) object: &'a str,
}

impl Case<'_> {
    fn target(&self) -> &Backup {
        &self.sample.backups(self.kind)[TARGET]
    }

    fn judge(&self, error: &Error) -> Verdict {
        let mut text = error.to_string();
        let mut cause = std::error::Error::source(error);
        while let Some(error) = cause {
            text = format!("{text}: {error}");
            cause = error.source();
        }
        if text.contains(self.object) && self.object != "vault" {
            return Verdict::Named;
        }
        match error.kind() {
            ErrorKind::NotAVault => Verdict::Named,
            ErrorKind::Damaged { object, .. } if object == self.object => Verdict::Named,
            ErrorKind::PointNotFound { .. } => Verdict::Unseen,
            _ => Verdict::Told,
        }
    }

    pub(crate) async fn observe(&self, operation: Operation) -> Verdict {
        let without_keys = match operation {
            Operation::VerifyObjects => Some(verify_objects(self.backend.clone(), |_| ()).await),
            Operation::Check => Some(check_structure(self.backend.clone(), |_| ()).await),
            _ => None,
        };
        if let Some(report) = without_keys {
            return self.judge_objects(operation, report);
        }
        let vault = match Vault::open(self.backend.clone(), &key()).await {
            Ok(vault) => vault,
            Err(error) => return self.judge(&error),
        };
        match operation {
            Operation::List => self.list(&vault).await,
            Operation::Restore => self.restore(&vault).await,
            Operation::VerifyPoint => self.verify_point(&vault).await,
            Operation::NextBackup => self.next_backup(&vault).await,
            Operation::Collect => self.collect(&vault).await,
            Operation::VerifyObjects | Operation::Check => unreachable!("judged above"),
        }
    }

    fn judge_objects(&self, operation: Operation, report: Result<ObjectsReport>) -> Verdict {
        match report {
            Ok(report) => {
                let mut damaged = report.damaged;
                damaged.retain(|found| !self.sample.gone.contains(&found.object));
                let named = damaged.iter().any(|found| found.object == self.object);
                // For one session a plan waits.
                let open = usize::from(matches!(self.kind, Kind::Plan | Kind::PlanClaim));
                match (named, damaged.is_empty()) {
                    (true, _) => Verdict::Named,
                    (false, false) => Verdict::Told,
                    (false, true) if report.objects < self.expected(operation) => Verdict::Unseen,
                    (false, true) if report.open_sessions.len() == open => Verdict::Right,
                    (false, true) => Verdict::Unseen,
                }
            }
            Err(error) => self.judge(&error),
        }
    }

    /// How many objects are read in the whole vault: with fewer, one is gone and nobody minds.
    fn expected(&self, operation: Operation) -> u64 {
        match operation {
            Operation::Check => self.sample.count_but_packs(self.kind),
            _ => self.sample.count(self.kind),
        }
    }

    async fn list(&self, vault: &Vault) -> Verdict {
        let list = match vault.points().await {
            Ok(list) => list,
            Err(error) => return self.judge(&error),
        };
        if let Some(damaged) = list.damaged.first() {
            return self.judge(damaged);
        }
        let mut ids: Vec<PointId> = list.points.iter().map(|point| point.id).collect();
        let mut shown: Vec<PointId> = self.sample.shown.iter().map(|b| b.point.id).collect();
        ids.sort();
        shown.sort();
        if ids == shown {
            Verdict::Right
        } else {
            Verdict::Unseen
        }
    }

    async fn restore(&self, vault: &Vault) -> Verdict {
        let target = self.target();
        let read = async {
            let point = vault.point(target.point.id).await?;
            read_all(vault, &point.disks[0].stream).await
        };
        match (read.await, self.kind) {
            (Err(error), Kind::ExpiryMark | Kind::PointState)
                if matches!(error.kind(), ErrorKind::PointExpired { .. }) =>
            {
                Verdict::Right
            }
            (Err(error), _) => self.judge(&error),
            (Ok(content), kind) => {
                assert!(content == target.content, "wrong content was given out");
                match kind {
                    Kind::ExpiryMark | Kind::PointState => Verdict::Unseen,
                    _ => Verdict::Right,
                }
            }
        }
    }

    async fn verify_point(&self, vault: &Vault) -> Verdict {
        match (
            vault.verify_point(self.target().point.id, |_| ()).await,
            self.kind,
        ) {
            (Err(error), Kind::ExpiryMark | Kind::PointState)
                if matches!(error.kind(), ErrorKind::PointExpired { .. }) =>
            {
                Verdict::Right
            }
            (Err(error), _) => self.judge(&error),
            (Ok(report), _) if report.damaged_count > 0 => {
                let named = report
                    .damaged
                    .iter()
                    .all(|found| found.object == self.object);
                if named { Verdict::Named } else { Verdict::Told }
            }
            (Ok(_), Kind::ExpiryMark | Kind::PointState) => Verdict::Unseen,
            (Ok(_), _) => Verdict::Right,
        }
    }

    /// A backup of the same content: good, or it says why it cannot be. `Unseen` when the point that
    /// it commits is damaged.
    async fn next_backup(&self, vault: &Vault) -> Verdict {
        let target = self.target();
        let session = tresor_vault::SessionOptions::new(tresor_model::SessionId::generate());
        if let Err(error) = vault.begin_session(session).await {
            return self.judge(&error);
        }
        let point = back_up(vault, &target.content).await;
        let report = vault.verify_point(point.id, |_| ()).await.unwrap();
        if report.damaged_count == 0 {
            Verdict::Right
        } else {
            Verdict::Unseen
        }
    }

    /// Frees what the expired points used, or says why it does not. `Unseen` when it frees something else.
    async fn collect(&self, vault: &Vault) -> Verdict {
        let options = eager();
        let report = match vault.collect(&options, |_| ()).await {
            Ok(report) => report,
            Err(error) => return self.judge(&error),
        };
        let marked = vault.marked_packs().await.unwrap();
        if marked.iter().any(|pack| self.object.ends_with(pack)) {
            return Verdict::Named;
        }
        let whole = self.sample.whole(self.kind).await;
        let of_whole = Vault::open(whole, &key()).await.unwrap();
        let expected = of_whole.collect(&options, |_| ()).await.unwrap();
        match (report.choice, expected.choice) {
            (Some(found), Some(expected))
                if (found.sessions, found.dead_packs, found.missing_chunks)
                    == (expected.sessions, expected.dead_packs, 0) =>
            {
                Verdict::Right
            }
            (None, None) => Verdict::Right,
            (Some(found), _) if found.damaged_packs > 0 => Verdict::Told,
            _ => Verdict::Unseen,
        }
    }

    /// The other points, byte by byte: what is damaged is limited to what it touched.
    pub(crate) async fn others_are_whole(&self, case: &str) {
        // Whatever becomes of one slot, the other one opens.
        let key = match self.kind {
            Kind::KeySlot => &self.sample.recovery,
            _ => &key(),
        };
        let Ok(vault) = Vault::open(self.backend.clone(), key).await else {
            let alone = matches!(self.kind, Kind::Header | Kind::KeyRing);
            assert!(alone, "{case}: does not open");
            return;
        };
        for at in [TARGET - 1, TARGET + 1] {
            let other = &self.sample.shown[at];
            let point = vault.point(other.point.id).await.unwrap();
            let content = read_all(&vault, &point.disks[0].stream).await.unwrap();
            assert!(content == other.content, "{case}: another point is touched");
        }
    }
}

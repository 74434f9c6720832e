//! The backups of databases that a vault has, and reading one back.

use std::collections::BTreeSet;

use jiff::Timestamp;
use tresor_model::{PointId, RecoveryPoint, VmId};
use tresor_problem::{Kind, Problem};
use tresor_vault::{PointSummary, StreamReader, Vault};
use tresor_vault_format::database::{DumpError, DumpReader, Part, STREAM};

use crate::translate::vault_problem;

/// So much is read from the vault at once.
const PIECE: usize = 1 << 20;

/// What a vault has, oldest first.
#[derive(Debug, Clone, Default)]
pub struct Backups {
    /// Those that this key's holder has sealed, or whoever has the same keys.
    pub own: Vec<PointSummary>,
    /// How many say that they are such backups, and were put by the holder of another domain.
    pub others: usize,
}

impl Backups {
    /// Looks for them.
    ///
    /// # Errors
    /// What reading the vault says.
    pub async fn of(vault: &Vault) -> Result<Self, Problem> {
        let list = vault.points().await;
        let list = list.map_err(|error| vault_problem(&error, vault.location()))?;
        let databases = list
            .points
            .into_iter()
            .filter(|point| point.vm.is_database());
        let (others, own): (Vec<_>, Vec<_>) =
            databases.partition(|point| list.others.contains(&point.id));
        let others = others.len();
        Ok(Self { own, others })
    }

    /// The newest of an installation.
    #[must_use]
    pub fn newest_of(&self, installation: VmId) -> Option<&PointSummary> {
        let own = self.own.iter().filter(|point| point.vm == installation);
        own.max_by_key(|point| point.age())
    }

    /// The newest that was made not after a time, of the one installation that is meant.
    ///
    /// # Errors
    /// `DatabaseBackupNotFound`; a usage error when several installations keep their databases there, and none
    /// was named.
    pub fn choose(
        &self,
        location: &str,
        installation: Option<VmId>,
        at: Option<Timestamp>,
    ) -> Result<&PointSummary, Problem> {
        let asked = self.own.iter().filter(|point| {
            installation.is_none_or(|asked| asked == point.vm)
                && at.is_none_or(|at| point.taken_at <= at)
        });
        let asked: Vec<_> = asked.collect();
        let installations: BTreeSet<VmId> = asked.iter().map(|point| point.vm).collect();
        if installations.len() > 1 {
            let all: Vec<_> = installations.iter().map(ToString::to_string).collect();
            let what = format!(
                "Several installations keep their databases there: say which one with --installation ({}).",
                all.join(", ")
            );
            return Err(Kind::UsageError { what }.into());
        }
        let newest = asked.into_iter().max_by_key(|point| point.age());
        newest.ok_or_else(|| {
            let location = location.to_owned();
            Kind::DatabaseBackupNotFound { location }.into()
        })
    }
}

/// Reads a backup part by part.
pub struct Source {
    point: PointId,
    location: String,
    stream: StreamReader,
    at: u64,
    reader: DumpReader,
}

/// The dump in a recovery point.
///
/// # Errors
/// `DatabaseBackupUnusable` when it is none.
pub fn source(vault: &Vault, point: &RecoveryPoint) -> Result<Source, Problem> {
    let mut streams = point.attachments.iter();
    let stream = streams.find(|stream| stream.name.as_str() == STREAM);
    let stream = stream.filter(|_| point.vm.is_database());
    let stream = stream.ok_or_else(|| unusable(point.id, "it holds none"))?;
    let location = vault.location().to_owned();
    let stream = vault.reader(stream);
    let stream = stream.map_err(|error| vault_problem(&error, &location))?;
    Ok(Source {
        point: point.id,
        location,
        stream,
        at: 0,
        reader: DumpReader::new(),
    })
}

impl Source {
    /// The next part; `None` when all was read, whole.
    ///
    /// # Errors
    /// `DatabaseBackupUnusable`; what reading the vault says.
    pub async fn next(&mut self) -> Result<Option<Part>, Problem> {
        loop {
            let part = self.reader.next_part();
            if let Some(part) = part.map_err(|error| self.refused(&error))? {
                return Ok(Some(part));
            }
            if self.at >= self.stream.size() {
                let reader = std::mem::take(&mut self.reader);
                let whole = reader.finish();
                return whole.map(|()| None).map_err(|error| self.refused(&error));
            }
            let piece = self.stream.read_at(self.at, PIECE).await;
            let piece = piece.map_err(|error| vault_problem(&error, &self.location))?;
            self.at += piece.len() as u64;
            self.reader.push(&piece);
        }
    }

    fn refused(&self, error: &DumpError) -> Problem {
        unusable(self.point, &error.to_string())
    }

    /// That something in it cannot be.
    #[must_use]
    pub fn unusable(&self, reason: &str) -> Problem {
        unusable(self.point, reason)
    }
}

fn unusable(point: PointId, reason: &str) -> Problem {
    let (point, reason) = (point.to_string(), reason.to_owned());
    Kind::DatabaseBackupUnusable { point, reason }.into()
}

#[cfg(test)]
mod tests {
    use tresor_model::{Consistency, SessionId};

    use super::*;

    fn backup(vm: VmId, second: i64, sequence: u64) -> PointSummary {
        let taken_at = Timestamp::from_second(second).unwrap();
        PointSummary {
            id: SessionId::generate().into(),
            vm,
            vm_name: super::super::NAME.to_owned(),
            taken_at,
            committed_at: taken_at,
            sequence,
            consistency: Consistency::Application,
            disks: 0,
            size: 0,
            stored: 0,
            warnings: 0,
            copied_from: None,
        }
    }

    #[test]
    fn the_newest_before_a_time_of_the_installation_that_is_meant() {
        let (one, two) = (VmId::generate_database(), VmId::generate_database());
        let own = vec![backup(one, 10, 1), backup(one, 20, 2), backup(two, 15, 1)];
        let backups = Backups { own, others: 1 };
        let choose = |installation, at: Option<i64>| {
            let at = at.map(|at| Timestamp::from_second(at).unwrap());
            backups
                .choose("/srv/vault", installation, at)
                .map(|point| point.taken_at.as_second())
                .map_err(|problem| problem.code.as_str().to_owned())
        };
        let none = || "DatabaseBackupNotFound".to_owned();
        for (installation, at, expected) in [
            (Some(one), None, Ok(20)),
            (Some(one), Some(19), Ok(10)),
            (Some(one), Some(9), Err(none())),
            (Some(two), None, Ok(15)),
            (None, Some(12), Ok(10)),
            (None, None, Err("UsageError".to_owned())),
            (Some(VmId::generate_database()), None, Err(none())),
        ] {
            assert_eq!(
                choose(installation, at),
                expected,
                "{installation:?} {at:?}"
            );
        }
    }
}

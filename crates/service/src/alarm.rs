//! Alerts: problems that somebody should look at, one for each kind of problem of an item. What is told of them
//! is kept with them.

use std::collections::BTreeSet;

use jiff::{Timestamp, tz::TimeZone};
use tresor_catalog::{AlertFilter, AlertRecord, Catalog, CatalogError};
use tresor_notify::EventKind;
use tresor_problem::Problem;

use crate::telling::Teller;

/// Of an item that is late.
pub(crate) const LATE: &str = "RecoveryPointLate";

/// An item's backup failed, by what will not pass by itself.
pub(crate) async fn raise(
    catalog: &Catalog,
    zone: &TimeZone,
    subject: &str,
    problem: &Problem,
) -> Result<(), CatalogError> {
    let problems = [(subject.to_owned(), problem.clone())];
    raise_all(catalog, zone, &problems, EventKind::BackupFailed).await
}

/// Something that is no backup's failure lasts.
pub(crate) async fn warn(
    catalog: &Catalog,
    zone: &TimeZone,
    subject: &str,
    problem: Problem,
) -> Result<(), CatalogError> {
    let problems = [(subject.to_owned(), problem)];
    raise_all(catalog, zone, &problems, EventKind::AlertOpened).await
}

async fn raise_all(
    catalog: &Catalog,
    zone: &TimeZone,
    problems: &[(String, Problem)],
    kind: EventKind,
) -> Result<(), CatalogError> {
    let now = Timestamp::now();
    let teller = Teller::read(catalog, zone).await?;
    let tell = |opened: &[_]| teller.opened(opened, kind, now);
    catalog.raise_telling(problems, now, &tell).await.map(drop)
}

/// An item has none any more; with a code, none of that kind.
pub(crate) async fn quiet(
    catalog: &Catalog,
    zone: &TimeZone,
    subject: &str,
    code: Option<&str>,
) -> Result<(), CatalogError> {
    let now = Timestamp::now();
    let teller = Teller::read(catalog, zone).await?;
    let tell = |over: &[_]| teller.over(over, now);
    let over = catalog.resolve_telling(subject, code, now, &tell);
    over.await.map(drop)
}

/// What is late has an alert, and nothing else has one for that.
pub(crate) async fn note_late(
    catalog: &Catalog,
    zone: &TimeZone,
    late: &[(String, Problem)],
) -> Result<(), CatalogError> {
    let open = open(catalog).await?;
    let open: BTreeSet<_> = open
        .iter()
        .filter(|alert| alert.problem.is(LATE))
        .map(|alert| alert.subject.as_str())
        .collect();
    let new: Vec<_> = late
        .iter()
        .filter(|(subject, _)| !open.contains(subject.as_str()))
        .cloned()
        .collect();
    if !new.is_empty() {
        raise_all(catalog, zone, &new, EventKind::VmLate).await?;
    }
    let late: BTreeSet<_> = late.iter().map(|(subject, _)| subject.as_str()).collect();
    for subject in open.difference(&late) {
        quiet(catalog, zone, subject, Some(LATE)).await?;
    }
    Ok(())
}

/// All alerts that are open.
pub(crate) async fn open(catalog: &Catalog) -> Result<Vec<AlertRecord>, CatalogError> {
    let filter = AlertFilter {
        open: true,
        ..AlertFilter::default()
    };
    catalog.all_alerts(&filter).await
}

#[cfg(test)]
#[path = "alarm_tests.rs"]
mod tests;

//! What must hold on every boot.

use std::collections::BTreeSet;
use std::sync::Arc;

use tresor_backend::LocalBackend;
use tresor_backend::sim::{Plan, Rng};
use tresor_model::{PointId, SessionId};

use tresor_vault_format::name::{self, SessionObject};

use super::Broken;
use super::actors::{Actor, content, session_id};
use super::support::read_all;
use crate::{record, verify_objects};

/// Collects of a quiet vault until there is nothing left to do.
const ROUNDS: usize = 5;

pub(super) async fn check(reader: &Actor) -> Broken {
    let text = |error: crate::Error| error.to_string();
    let vault = reader.open().await.map_err(text)?;
    let list = vault.points().await.map_err(text)?;
    for error in &list.damaged {
        let object = error.object_and_reason().map(|(object, _)| object);
        if !object.is_some_and(|object| is_late_end(reader, &object)) {
            return Err(format!("a point is damaged: {error}"));
        }
    }
    let listed: BTreeSet<PointId> = list.points.iter().map(|point| point.id).collect();
    let deleted: BTreeSet<PointId> = list.deleted.iter().map(|point| point.id).collect();
    for id in listed.union(&deleted) {
        let session = SessionId::from_uuid(*id.as_uuid());
        let point = record::read(&vault.inner, session).await.map_err(text)?;
        let point = point.ok_or_else(|| format!("the aborted session {id} is listed"))?;
        let read = read_all(&vault, &point.disks[0].stream).await;
        let read = read.map_err(|error| format!("point {id} dangles: {error}"))?;
        if reader.log.lock().unwrap().written.get(id) != Some(&read) {
            return Err(format!("point {id} has other bytes"));
        }
    }
    // Nothing was damaged: what is found only by a search of the whole index was forgotten.
    if let Some(around) = vault.read_around().first() {
        return Err(format!("a hint leads nowhere: {around:?}"));
    }
    check_log(reader, &listed, &deleted)?;
    let backend = Arc::new(LocalBackend::on(reader.fs.clone()));
    let report = verify_objects(backend, |_| ()).await.map_err(text)?;
    let no_room = reader.log.lock().unwrap().no_room;
    let mut damaged = report.damaged.iter();
    let harmless =
        |object: &str| (no_room && object.starts_with("index/")) || is_late_end(reader, object);
    match damaged.find(|found| !harmless(&found.object)) {
        Some(found) => Err(format!("{} is damaged: {}", found.object, found.reason)),
        None => Ok(()),
    }
}

/// The begin that an end lacks: its writer came back after its session was over, put the end, and was
/// killed before it could take it away. It was told nothing good.
fn is_late_end(reader: &Actor, object: &str) -> bool {
    let Some(SessionObject::Begin(session)) = name::parse_session_object(object) else {
        return false;
    };
    let log = reader.log.lock().unwrap();
    !log.acknowledged.contains(&session.into()) || log.expired.contains(&session.into())
}

/// What processes were told is so.
fn check_log(reader: &Actor, listed: &BTreeSet<PointId>, deleted: &BTreeSet<PointId>) -> Broken {
    let log = reader.log.lock().unwrap();
    let may_be_away = |id| log.delete_tried.contains(id) && !log.undeleted.contains(id);
    let is_there = |id| listed.contains(id) || (deleted.contains(id) && may_be_away(id));
    let mut wanted = log.acknowledged.difference(&log.expire_tried);
    if let Some(lost) = wanted.find(|id| !is_there(id)) {
        return Err(format!("the acknowledged point {lost} is gone"));
    }
    if let Some(back) = log.expired.intersection(listed).next() {
        return Err(format!("the expired point {back} is back"));
    }
    if let Some(both) = log.aborted.intersection(listed).next() {
        return Err(format!("the aborted session {both} is a point"));
    }
    if let Some(both) = log.aborted.intersection(&log.acknowledged).next() {
        return Err(format!("session {both} was aborted and acknowledged"));
    }
    Ok(())
}

/// A quiet machine: the vault is collected until it rests, written, and collected once more.
pub(super) async fn heal(quiet: &Actor, rng: &mut Rng) -> Broken {
    rest(quiet).await?;
    check(quiet).await?;
    let again = quiet.process(Plan::default());
    let written = again.back_up(session_id(rng), content(rng), None, 0).await;
    written.map_err(|error| format!("the vault cannot be written after the crash: {error}"))?;
    rest(quiet).await?;
    check(&quiet.boot(rng.next_u64())).await
}

async fn rest(quiet: &Actor) -> Broken {
    for _ in 0..ROUNDS {
        let report = quiet.collect(0, true).await;
        let report = report.map_err(|error| format!("the vault cannot be collected: {error}"))?;
        if report.choice.is_some_and(|choice| choice.is_empty()) {
            return Ok(());
        }
    }
    Err("collect does not come to rest".to_owned())
}

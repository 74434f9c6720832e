//! A writer sleeps while it is aborted and collected; a collector is killed meanwhile.

use tresor_backend::sim::{Plan, Rng};
use tresor_model::PointId;

use super::Broken;
use super::actors::{Actor, content, new_machine, session_id};
use super::check::{check, heal};
use super::succession::kill_at;
use super::support::{point, write_all};
use crate::session::PlantedBug;
use crate::{CHUNK_SIZE, SessionOptions, random};

/// A moment for each change of a collect.
pub(super) const SEEDS: u64 = 200;

/// The writer has written everything when its session is aborted; then a collector that deletes what
/// is left of it is killed at the change that the seed says; then the writer wakes and commits; then
/// the next collector goes on.
pub(super) async fn sleeper(seed: u64, planted: Option<PlantedBug>) -> Broken {
    let mut rng = Rng::new(seed);
    random::seeded::start(seed);
    let machine = new_machine(seed, Plan::default(), planted).await?;
    let failed = |error: crate::Error| format!("in quiet: {error}");
    let old = session_id(&mut rng);
    let quiet = machine.process(Plan::default());
    quiet
        .back_up(old, content(&mut rng), None, 0)
        .await
        .map_err(failed)?;

    let id = session_id(&mut rng);
    let vault = machine
        .process(Plan::default())
        .open()
        .await
        .map_err(failed)?;
    let mut options = SessionOptions::new(id);
    options.planted = planted;
    options.pack_size = 3 * CHUNK_SIZE;
    let session = vault.begin_session(options).await.map_err(failed)?;
    let content = content(&mut rng);
    let written = write_all(&session, "vda", &content, None, 2 * CHUNK_SIZE).await;
    let (record, _) = written.map_err(failed)?;

    quiet.expire(0, old.into()).await.map_err(failed)?;
    abandon(&quiet, id).await.map_err(failed)?;
    let _killed = machine.process(kill_at(seed)).collect(0, true).await;
    {
        let mut log = machine.log.lock().unwrap();
        log.written.insert(PointId::from(id), content);
    }
    if session.commit(point(id, vec![record])).await.is_ok() {
        return Err("a session that was aborted was committed".to_owned());
    }
    check(&machine.boot(rng.next_u64())).await?;
    heal(&machine.boot(rng.next_u64()), &mut rng).await
}

/// The session is ended by somebody else.
async fn abandon(quiet: &Actor, id: tresor_model::SessionId) -> crate::Result<()> {
    quiet.abort(0, &[id]).await
}

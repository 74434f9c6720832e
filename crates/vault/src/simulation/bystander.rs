//! Writers and collectors that come while a collect is going on, and an expiry that was cut off
//! before it.

use tresor_backend::sim::{Plan, Rng};
use tresor_model::StreamRecord;

use super::Broken;
use super::actors::{Actor, content, new_machine, session_id};
use super::check::{check, heal};
use super::succession::kill_at;
use crate::session::PlantedBug;
use crate::{ErrorKind, SessionOptions, random};

/// Enough for every order of two processes that matters.
pub(super) const SEEDS: u64 = 150;

fn in_quiet(error: &crate::Error) -> String {
    format!("in quiet: {error}")
}

/// A machine with a point, its content and its stream.
async fn with_point(
    seed: u64,
    rng: &mut Rng,
    planted: Option<PlantedBug>,
) -> std::result::Result<(Actor, tresor_model::PointId, Vec<u8>, StreamRecord), String> {
    random::seeded::start(seed);
    let machine = new_machine(seed, Plan::default(), planted).await?;
    let (id, old) = (session_id(rng), content(rng));
    let record = machine.back_up(id, old.clone(), None, 0).await;
    let record = record.map_err(|error| in_quiet(&error))?;
    Ok((machine, id.into(), old, record))
}

/// A plan is in effect and waits; one writer brings what it condemns, another one builds on the point
/// that it drops. Then a third one brings the same while the plan is finished.
pub(super) async fn bystander(seed: u64, planted: Option<PlantedBug>) -> Broken {
    let mut rng = Rng::new(seed);
    let (machine, id, old, record) = with_point(seed, &mut rng, planted).await?;
    let quiet = |error: crate::Error| in_quiet(&error);
    machine.expire(0, id).await.map_err(quiet)?;
    if rng.coin() {
        let vault = machine.open().await.map_err(quiet)?;
        let options = SessionOptions::new(session_id(&mut rng));
        let open = vault.begin_session(options).await.map_err(quiet)?;
        machine.collect(0, false).await.map_err(quiet)?;
        let same = machine.back_up(session_id(&mut rng), old.clone(), None, 0);
        same.await.map_err(quiet)?;
        let based = machine.process(Plan::default());
        let _refused = based
            .back_up(session_id(&mut rng), old.clone(), Some(&record), 0)
            .await;
        open.abort().await.map_err(quiet)?;
    }
    let writer = machine.process(Plan::default().interleave(1));
    let collector = machine.process(Plan::default().interleave(3));
    let (sleeps, id) = ([rng.below(200), rng.below(200)], session_id(&mut rng));
    let base = rng.coin().then_some(&record);
    let both = tokio::join!(
        async {
            super::actors::turns(sleeps[0]).await;
            writer.back_up(id, old, base, 0).await
        },
        collector.collect(sleeps[1], false),
    );
    match both.0 {
        Err(error) if base.is_some() && matches!(error.kind(), ErrorKind::BaseGone { .. }) => {}
        written => drop(written.map_err(quiet)?),
    }
    both.1.map_err(quiet)?;
    check(&machine).await?;
    heal(&machine.boot(rng.next_u64()), &mut rng).await
}

/// Whoever expires a point is killed at one of its changes; a collect acts on what it sees, and is
/// killed too, or not; then the power goes.
pub(super) async fn half_expired(seed: u64, planted: Option<PlantedBug>) -> Broken {
    let mut rng = Rng::new(seed);
    let (machine, id, ..) = with_point(seed, &mut rng, planted).await?;
    let _killed = machine
        .process(kill_at(seed % EXPIRY_MOMENTS))
        .expire(0, id)
        .await;
    let collector = machine.process(kill_at(rng.below(COLLECT_MOMENTS) as u64));
    let _killed = collector.collect(0, true).await;
    for _ in 0..3 {
        check(&machine.boot(rng.next_u64())).await?;
    }
    heal(&machine.boot(rng.next_u64()), &mut rng).await
}

/// Each change of an expiry with several of a collect.
pub(super) const HALF_EXPIRED: u64 = 160;
/// Before and after each change of an expiry, and some more: it is not killed.
const EXPIRY_MOMENTS: u64 = 16;
/// The same of a collect.
const COLLECT_MOMENTS: usize = 120;

/// Two collectors look at a vault with a sparse pack, one of them a little later; whoever loses goes
/// on until the vault rests.
pub(super) async fn rivals(seed: u64, planted: Option<PlantedBug>) -> Broken {
    let mut rng = Rng::new(seed);
    let (machine, id, old, record) = with_point(seed, &mut rng, planted).await?;
    let quiet = |error: crate::Error| in_quiet(&error);
    // The same in its first half, so that what the first point stored is half dead.
    let mut kept = content(&mut rng);
    kept[..old.len() / 2].copy_from_slice(&old[..old.len() / 2]);
    let base = rng.coin().then_some(&record);
    let second = machine.back_up(session_id(&mut rng), kept, base, 0);
    second.await.map_err(quiet)?;
    machine.expire(0, id).await.map_err(quiet)?;
    // A fast one deletes while a slow one looks.
    let paces = [1, 8];
    let rivals = paces.map(|most| machine.process(Plan::default().interleave(most)));
    let sleeps = [rng.below(30), rng.below(30)];
    let both = tokio::join!(
        rivals[0].collect(sleeps[0], true),
        rivals[1].collect(sleeps[1], true)
    );
    both.0.map_err(quiet)?;
    both.1.map_err(quiet)?;
    check(&machine).await?;
    heal(&machine.boot(rng.next_u64()), &mut rng).await
}

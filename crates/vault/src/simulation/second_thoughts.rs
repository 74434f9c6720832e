//! Points that are deleted and brought back, and points that are copied, beside collects.

use tresor_backend::sim::{Plan, Rng};
use tresor_model::PointId;

use super::Broken;
use super::actors::{Actor, content, fate, new_machine, session_id};
use super::check::{check, heal};
use super::succession::kill_at;
use crate::random;
use crate::session::PlantedBug;

/// Seeds of each of the two.
pub(super) const SEEDS: u64 = 150;
/// Before and after each change of two states, and some more: nobody is killed.
const MOMENTS: usize = 24;

async fn with_points(
    machine: &Actor,
    rng: &mut Rng,
    count: usize,
) -> std::result::Result<Vec<PointId>, String> {
    let mut points = Vec::new();
    for _ in 0..count {
        let id = session_id(rng);
        let made = machine.back_up(id, content(rng), None, 0).await;
        made.map_err(|error| format!("in quiet: {error}"))?;
        points.push(id.into());
    }
    Ok(points)
}

/// Somebody deletes a point, brings it back perhaps, and is killed at one of the changes; two others
/// collect, and a third one ends another point that was deleted.
pub(super) async fn second_thoughts(seed: u64, planted: Option<PlantedBug>) -> Broken {
    let mut rng = Rng::new(seed);
    random::seeded::start(seed);
    let machine = new_machine(seed, Plan::default(), planted).await?;
    let points = with_points(&machine, &mut rng, 3).await?;
    let quiet = |error: crate::Error| format!("in quiet: {error}");
    machine.delete(0, points[1], false).await.map_err(quiet)?;
    let doubter = machine.process(kill_at(rng.below(MOMENTS) as u64));
    let fates = [fate(&mut rng), fate(&mut rng)];
    let cuts = fates.iter().any(|fate| fate.cuts);
    let [first, second] = fates.map(|fate| machine.fated(fate));
    let ender = machine.process(Plan::default().interleave(3));
    let sleeps: Vec<usize> = (0..4).map(|_| rng.below(200)).collect();
    let back = rng.coin();
    let _outcomes = tokio::join!(
        doubter.delete(sleeps[0], points[0], back),
        ender.expire(sleeps[1], points[1]),
        first.collect(sleeps[2], rng.coin()),
        second.collect(sleeps[3], true),
    );
    if !cuts {
        check(&machine.process(Plan::default())).await?;
    }
    let next = machine.boot(rng.next_u64());
    check(&next).await?;
    heal(&next, &mut rng).await
}

/// Points are copied into a second vault while both are collected, and what is copied expires in the
/// first; each process with its own fate.
pub(super) async fn copies(seed: u64, planted: Option<PlantedBug>) -> Broken {
    let mut rng = Rng::new(seed);
    random::seeded::start(seed);
    let here = new_machine(seed, Plan::default(), planted).await?;
    let mut there = new_machine(rng.next_u64(), Plan::default(), planted).await?;
    there.log = std::sync::Arc::default();
    let points = with_points(&here, &mut rng, 2).await?;
    let quiet = |error: crate::Error| format!("in quiet: {error}");
    let first = session_id(&mut rng);
    here.copy(0, points[0], &there, first)
        .await
        .map_err(quiet)?;
    there.expire(0, first.into()).await.map_err(quiet)?;
    let fates = [(); 4].map(|()| fate(&mut rng));
    let cuts = [0, 2].map(|of| fates[of].cuts || fates[of + 1].cuts);
    let [reads, collects_here, writes, collects_there] = fates;
    let (source, target) = (here.fated(reads), there.fated(writes));
    let collectors = [here.fated(collects_here), there.fated(collects_there)];
    let expirer = here.process(Plan::default().interleave(3));
    let sleeps: Vec<usize> = (0..4).map(|_| rng.below(300)).collect();
    let (copy, hasty) = (session_id(&mut rng), rng.coin());
    let copied = [points[0], points[1]][rng.below(2)];
    let _outcomes = tokio::join!(
        source.copy(sleeps[0], copied, &target, copy),
        collectors[0].collect(sleeps[1], true),
        collectors[1].collect(sleeps[2], hasty),
        expirer.expire(sleeps[3], points[0]),
    );
    for (machine, cut) in [here, there].into_iter().zip(cuts) {
        if !cut {
            check(&machine.process(Plan::default())).await?;
        }
        let next = machine.boot(rng.next_u64());
        check(&next).await?;
        heal(&next, &mut rng).await?;
    }
    Ok(())
}

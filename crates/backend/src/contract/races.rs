//! Calls at the same time.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::task::JoinSet;

use super::{Bench, Outcome, Violation, ensure, ensure_kind, succeed};
use crate::{ErrorKind, ObjectName};

const RACERS: u8 = 16;

/// A body that tells whose it is, in every byte.
fn body_of(racer: u8) -> Bytes {
    vec![racer; 100_000 + usize::from(racer)].into()
}

fn race(bench: &Bench, name: &ObjectName) -> JoinSet<(u8, Result<(), crate::Error>)> {
    let mut racers = JoinSet::new();
    for racer in 0..RACERS {
        let backend = Arc::clone(&bench.backend);
        let name = name.clone();
        racers.spawn(async move { (racer, backend.put(&name, body_of(racer)).await) });
    }
    racers
}

pub(super) async fn one_winner(bench: &Bench) -> Outcome {
    for round in 0..4 {
        let name = bench.name(&format!("race-{round}/flag"))?;
        let mut racers = race(bench, &name);
        let mut winners = Vec::new();
        while let Some(done) = racers.join_next().await {
            match done.map_err(|panic| Violation::new(panic.to_string()))? {
                (racer, Ok(())) => winners.push(racer),
                (_, Err(error)) if error.kind() == ErrorKind::AlreadyExists => {}
                (_, Err(error)) => return Err(Violation::new("a loser failed").because(error)),
            }
        }
        match winners[..] {
            [winner] => bench.expect_body(&name, &body_of(winner)).await?,
            _ => return Err(Violation::new(format!("winners: {winners:?}"))),
        }
    }
    Ok(())
}

pub(super) async fn no_half_object(bench: &Bench) -> Outcome {
    let name = bench.name("seen")?;
    let mut racers = race(bench, &name);
    let mut seen: Option<Bytes> = None;
    while !racers.is_empty() {
        match bench.backend.get(&name, u64::MAX).await {
            Ok(body) => {
                let whole = body.first().is_some_and(|racer| body == body_of(*racer));
                ensure(whole, || format!("half an object: {} bytes", body.len()))?;
                let same = seen.as_ref().is_none_or(|before| *before == body);
                ensure(same, || "the object changed".to_owned())?;
                seen = Some(body);
            }
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(Violation::new("get failed").because(error)),
        }
        while racers.try_join_next().is_some() {}
        tokio::task::yield_now().await;
    }
    match seen {
        Some(body) => bench.expect_body(&name, &body).await,
        // Every look was before the first put; nothing was seen that could be compared.
        None => Ok(()),
    }
}

pub(super) async fn sweep_spares_objects(bench: &Bench) -> Outcome {
    let name = bench.put("kept", "x").await?;
    // Old enough that no writer who is alive is disturbed, should others use the store.
    let week = Duration::from_secs(7 * 24 * 3600);
    succeed("sweep", bench.backend.sweep(week).await)?;
    bench.expect_body(&name, b"x").await
}

pub(super) async fn sweep_refused(bench: &Bench) -> Outcome {
    let name = bench.put("kept", "x").await?;
    let swept = bench.backend.sweep(Duration::ZERO).await;
    ensure_kind("sweep", swept, ErrorKind::Refused)?;
    bench.expect_body(&name, b"x").await
}

//! Everything at once.

use tresor_backend::sim::{Plan, Rng};
use tresor_model::{PointId, StreamRecord};

use super::Broken;
use super::actors::{Actor, content, fate, new_machine, session_id};
use super::check::{check, heal};
use crate::random;
use crate::session::PlantedBug;

/// A point that was made in quiet.
struct Made {
    id: PointId,
    record: StreamRecord,
}

/// One history. The error says which invariant broke.
pub(super) async fn history(seed: u64, planted: Option<PlantedBug>) -> Broken {
    let mut rng = Rng::new(seed);
    random::seeded::start(seed);
    let machine = new_machine(seed, Plan::default(), planted).await?;
    let made = past(&machine, &mut rng).await?;
    let harmless = present(&machine, &made, &mut rng).await?;

    // A writer and a collector that find what the others left.
    let late_fate = fate(&mut rng);
    let cuts = late_fate.cuts;
    let late = match rng.coin() {
        true => machine.process(Plan::default()),
        false => machine.fated(late_fate),
    };
    let base = made.last().map(|made| &made.record);
    let base = base.filter(|_| rng.coin());
    let id = session_id(&mut rng);
    let _outcome = late.back_up(id, content(&mut rng), base, 0).await;
    let last = fate(&mut rng);
    let cuts = cuts || last.cuts;
    let _outcome = machine.fated(last).collect(0, rng.coin()).await;
    if harmless && !cuts {
        // No power cut yet, nor a file system that stopped: whoever looks now sees a vault, too.
        check(&machine.process(Plan::default())).await?;
    }

    let next = machine.boot(rng.next_u64());
    check(&next).await?;
    heal(&next, &mut rng).await
}

/// Points that follow each other, some expired, some collected, in quiet.
async fn past(machine: &Actor, rng: &mut Rng) -> std::result::Result<Vec<Made>, String> {
    let quiet = |what: &str, error: crate::Error| format!("a quiet {what} failed: {error}");
    let mut made: Vec<Made> = Vec::new();
    for _ in 0..rng.below(4) {
        let id = session_id(rng);
        let base = made.last().filter(|_| rng.coin());
        let process = machine.process(Plan::default());
        let record = process
            .back_up(id, content(rng), base.map(|made| &made.record), 0)
            .await
            .map_err(|error| quiet("backup", error))?;
        made.push(Made {
            id: id.into(),
            record,
        });
        if made.len() > 1 && rng.coin() {
            let expired = machine.expire(0, made.remove(0).id).await;
            expired.map_err(|error| quiet("expire", error))?;
        }
        if rng.below(3) == 0 {
            let collected = machine.collect(0, true).await;
            collected.map_err(|error| quiet("collect", error))?;
        }
    }
    Ok(made)
}

/// All at once, each with its fate; says whether the machine itself was let be.
async fn present(
    machine: &Actor,
    made: &[Made],
    rng: &mut Rng,
) -> std::result::Result<bool, String> {
    let mut cuts = false;
    let mut process = |rng: &mut Rng| {
        let fate = fate(rng);
        cuts |= fate.cuts;
        machine.fated(fate)
    };
    let writers = [process(rng), process(rng)];
    let (collectors, expirer) = ([process(rng), process(rng)], process(rng));
    let calm = || machine.process(Plan::default().interleave(3));
    let (racer, reader) = (calm(), calm());
    let ids = [session_id(rng), session_id(rng)];
    let contents = [content(rng), content(rng)];
    let pick = |rng: &mut Rng| match made.len() {
        0 => None,
        len => made.get(rng.below(len)),
    };
    let bases = [pick(rng), pick(rng)].map(|made| made.map(|made| &made.record));
    let (old, read) = (pick(rng), pick(rng));
    let sleeps: Vec<usize> = (0..8).map(|_| rng.below(700)).collect();
    let (hasty, aborts) = ([rng.coin(), rng.coin()], rng.below(3) == 0);
    let again = rng.coin();
    let (.., wrong) = tokio::join!(
        writers[0].back_up(ids[0], contents[0].clone(), bases[0], sleeps[0]),
        async {
            super::actors::turns(sleeps[1]).await;
            writers[1]
                .back_up(ids[1], contents[1].clone(), bases[1], sleeps[2])
                .await
        },
        async {
            let first = collectors[0].collect(sleeps[3], hasty[0]).await;
            match first {
                Ok(_) if again => collectors[0].collect(0, hasty[1]).await,
                first => first,
            }
        },
        collectors[1].collect(sleeps[4], hasty[1]),
        async {
            match old {
                Some(old) => expirer.expire(sleeps[5] / 2, old.id).await,
                None => Ok(()),
            }
        },
        async {
            match aborts {
                true => racer.abort(sleeps[6], &[ids[0]]).await,
                false => Ok(()),
            }
        },
        async {
            match read {
                Some(read) => reader.restore(sleeps[7], read.id).await,
                None => None,
            }
        },
    );
    match wrong {
        Some(wrong) if !cuts => Err(wrong),
        _ => Ok(!cuts),
    }
}

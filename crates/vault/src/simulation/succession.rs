//! A writer is killed; another one builds on what it left.

use tresor_backend::sim::{Moment, Plan, Rng};

use super::Broken;
use super::actors::{CHUNKS, new_machine, session_id};
use super::check::check;
use super::support::noise;
use crate::session::PlantedBug;
use crate::{CHUNK_SIZE, random};

/// A moment for each change of a writer.
pub(super) const SEEDS: u64 = 160;

/// The killed writer gets as far as the seed says; another one writes the same, reuses what it finds,
/// and is told that its point is safe. Then the power goes.
pub(super) async fn succession(seed: u64, planted: Option<PlantedBug>) -> Broken {
    let mut rng = Rng::new(seed);
    random::seeded::start(seed);
    let machine = new_machine(seed, Plan::default(), planted).await?;
    let content = noise(seed, CHUNKS * CHUNK_SIZE);
    let killed = machine.process(kill_at(seed));
    let first = session_id(&mut rng);
    let _outcome = killed.back_up(first, content.clone(), None, 0).await;
    let second = machine.process(Plan::default());
    let made = second.back_up(session_id(&mut rng), content, None, 0).await;
    made.map_err(|error| format!("the second writer failed: {error}"))?;
    for _ in 0..3 {
        check(&machine.boot(rng.next_u64())).await?;
    }
    Ok(())
}

/// Before or after each change in turn.
pub(super) fn kill_at(seed: u64) -> Plan {
    let moment = match seed.is_multiple_of(2) {
        true => Moment::Before,
        false => Moment::After,
    };
    Plan::default().kill(seed / 2, moment)
}

//! Two services on one PostgreSQL, killed in turn while each backs up its VM.

use std::{collections::BTreeMap, time::Duration};

use super::{Machine, assert_unharmed_while_left, copy_dir, end, lab_on, running, until};
use crate::{
    kills::{Plan, assert_all_told, note},
    lab::assert_unharmed,
    postgres_server::PostgresServer,
    service::points,
};

/// Kills in the normal run: each once.
const KILLS: u64 = 2;
/// From when a job was seen to run.
const INTO_A_JOB: Duration = Duration::from_secs(3);
/// How long a service is away.
const AWAY: Duration = Duration::from_secs(6);

#[tokio::test(flavor = "multi_thread")]
async fn two_services_are_killed_in_turn() {
    let mut plan = Plan::new(KILLS);
    let server = PostgresServer::start();
    let lab = lab_on(&server).await;
    let one = Machine::new(&lab, lab.state(), "db01").await;
    let two = Machine::new(&lab, lab.path("state-b"), "web01").await;
    let (first, _) = one.serve(&lab).await;
    copy_dir(&one.state.join("identity"), &two.state.join("identity"));
    let (second, _) = two.serve(&lab).await;
    let (machines, mut services) = ([&one, &two], [first, second]);
    for machine in machines {
        machine.has_more_points(&lab, 0).await;
    }
    let (mut kills, mut blows, mut known) = (0, BTreeMap::<String, u64>::new(), String::new());
    while kills < plan.runs {
        for turn in plan.shuffled([0, 1]) {
            if kills == plan.runs {
                break;
            }
            let (machine, service) = (machines[turn], &mut services[turn]);
            // One that a kill has left stays so until its service takes it back.
            until(machine, async || {
                let runs = running(&server, machine.vm);
                !runs.is_empty() && runs != known
            })
            .await;
            known = running(&server, machine.vm);
            plan.wait(INTO_A_JOB).await;
            service.start_kill().unwrap();
            service.wait().await.unwrap();
            plan.wait(AWAY).await;
            assert_unharmed_while_left(&machine.guest).await;
            *service = machine.serve(&lab).await.0;
            kills += 1;
            let name = format!("service of {} killed", machine.vm);
            *blows.entry(name).or_default() += 1;
        }
    }
    for machine in machines {
        let before = points(&lab, machine.vm).await.len();
        machine.has_more_points(&lab, before).await;
    }
    let [first, second] = services;
    end([(&one, first), (&two, second)]).await;
    for machine in machines {
        assert_unharmed(&machine.guest).await;
    }
    let told = assert_all_told(&lab).await;
    note(&blows, &told);
}

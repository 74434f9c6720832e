//! The service and its hosts are killed in turn while they back up, and lines are cut.

use std::{collections::BTreeMap, time::Duration};

use super::site::Site;
use crate::kills::{Plan, note};

/// Kills in the normal run: each of the three once, and one more.
const KILLS: u64 = 4;
/// From when a job was seen to run.
const INTO_A_JOB: Duration = Duration::from_secs(3);
/// How long something is away.
const AWAY: Duration = Duration::from_secs(6);

#[derive(Debug, Clone, Copy)]
enum Blow {
    Service,
    Host(usize),
    Line(usize),
}

impl Blow {
    fn name(self) -> String {
        match self {
            Self::Service => "service killed".to_owned(),
            Self::Host(host) => format!("host {host} killed"),
            Self::Line(host) => format!("line of host {host} cut"),
        }
    }

    /// Whose jobs it is to hit.
    fn host(self) -> Option<usize> {
        match self {
            Self::Service => None,
            Self::Host(host) | Self::Line(host) => Some(host),
        }
    }

    async fn strike(self, site: &mut Site, plan: &mut Plan) {
        match self {
            Self::Service => {
                site.kill(None).await;
                plan.wait(AWAY).await;
                site.serve().await;
            }
            Self::Host(host) => {
                site.kill(Some(host)).await;
                plan.wait(AWAY).await;
                site.start_host(host, &[]).await;
            }
            Self::Line(host) => {
                site.networks.line(host, false);
                plan.wait(AWAY).await;
                site.networks.line(host, true);
            }
        }
    }
}

#[tokio::test]
async fn vms_of_two_hosts_are_backed_up_whatever_is_killed_and_cut() {
    let mut plan = Plan::new(KILLS);
    let mut site = Site::new(&[2, 1]).await;
    site.reach(1).await;
    let (mut kills, mut blows, mut known) = (0, BTreeMap::<String, u64>::new(), Vec::new());
    while kills < plan.runs {
        let line = Blow::Line(usize::from(plan.next().is_multiple_of(2)));
        for blow in plan.shuffled([Blow::Service, Blow::Host(0), Blow::Host(1), line]) {
            if kills == plan.runs {
                break;
            }
            let job = site.in_transfer(blow.host(), &known).await;
            known.push(job);
            plan.wait(INTO_A_JOB).await;
            blow.strike(&mut site, &mut plan).await;
            site.assert_thawed().await;
            kills += u64::from(!matches!(blow, Blow::Line(_)));
            *blows.entry(blow.name()).or_default() += 1;
        }
    }
    site.each_has_another().await;
    let told = site.end().await;
    note(&blows, &told);
}

//! No list is longer than a page may be, whatever is asked for.

use futures::future::join_all;
use tresor_catalog::{AlertFilter, Catalog, Page};
use tresor_jobs::{JobFilter, JobLog as _, JobQueue as _, Owner, testing::contract::new_job};
use tresor_problem::{Kind, Problem};

use super::now;

pub(super) async fn check(catalog: &Catalog) {
    pages_are_bounded(catalog).await;
    racing_claims_need_no_second_connection(catalog).await;
}

async fn pages_are_bounded(catalog: &Catalog) {
    let problem = Problem::from(Kind::VmNotFound { vm: "x".to_owned() });
    for number in 0..1002 {
        let subject = format!("many:{number}");
        let raised = catalog.raise(&subject, &problem, now()).await;
        raised.expect("raise");
    }
    let page = Page::first(u32::MAX);
    let alerts = catalog.alerts(&AlertFilter::default(), &page).await;
    assert_eq!(alerts.expect("alerts").len(), 1000);
}

/// More at once than the pool has connections, and most of them are too late.
async fn racing_claims_need_no_second_connection(catalog: &Catalog) {
    let (job, me) = (new_job("raced", None), Owner::current());
    let ticket = tresor_jobs::Ticket {
        lane: "raced".to_owned(),
        not_before: job.created_at,
        rank: 0,
    };
    catalog.enqueue(&job, &ticket).await.expect("enqueue");
    let claims = join_all((0..16).map(|_| catalog.claim(job.id, &me))).await;
    assert_eq!(claims.iter().filter(|claim| claim.is_ok()).count(), 1);
    let in_lane = JobFilter {
        lane: Some("raced".to_owned()),
        ..JobFilter::default()
    };
    assert_eq!(catalog.list(&in_lane).await.expect("list").len(), 1);
}

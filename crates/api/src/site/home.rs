//! The first page.

use std::collections::HashMap;

use axum::{extract::State, response::Response};
use jiff::Timestamp;
use maud::{Markup, html};
use tresor_api_types::{ItemView, JobView, PointView, Standing};
use tresor_catalog::{ItemFilter, Page, PointFilter};
use tresor_jobs::{JobFilter, JobLog as _};
use tresor_model::JobKind;

use super::{
    Visitor, failed,
    layout::{self, size, state as mark, time, word},
};
use crate::{
    ApiState,
    failure::Answer,
    nouns::{items, jobs, points},
};

/// So much of each is shown; the API has all.
const ITEMS: u32 = 200;
const JOBS: u32 = 50;
const POINTS: u32 = 50;
/// Among so many jobs each item's last one is looked for.
const LOOKED_AT: u32 = 1000;

pub(super) async fn show(State(state): State<ApiState>, Visitor(who): Visitor) -> Response {
    match content(&state).await {
        Ok(body) => layout::answer(&layout::page("Overview", Some(&who), &body)),
        Err(failure) => failed(&failure),
    }
}

async fn content(state: &ApiState) -> Answer<Markup> {
    let page = Page::first(ITEMS);
    let records = state.catalog.items(&ItemFilter::default(), &page).await?;
    let seen = state.outlooks.seen_by(&records).await?;
    let now = Timestamp::now();
    let view = |record| items::view(record, &seen, now);
    let mut items: Vec<ItemView> = records.iter().map(view).collect();
    items.sort_by(|one, two| one.name.cmp(&two.name));
    let filter = JobFilter {
        limit: Some(LOOKED_AT),
        ..JobFilter::default()
    };
    let headers = state.catalog.list(&filter).await?;
    let jobs: Vec<JobView> = headers.into_iter().map(jobs::view).collect();
    let (filter, page) = (PointFilter::default(), Page::first(POINTS));
    let points = state.catalog.points_page(&filter, &page).await?;
    let points: Vec<PointView> = points.into_iter().map(points::view).collect();
    let recent = usize::try_from(JOBS).unwrap_or(usize::MAX).min(jobs.len());
    Ok(html! {
        (item_table(&items, &last_of_each(&jobs)))
        (job_table(&jobs[..recent]))
        (point_table(&points))
    })
}

/// The newest backup of each VM that has ended.
fn last_of_each(jobs: &[JobView]) -> HashMap<&str, &JobView> {
    let mut last = HashMap::new();
    let ended = |job: &&JobView| job.kind == JobKind::Backup && job.state.is_final();
    for job in jobs.iter().filter(ended) {
        last.entry(job.subject.as_str()).or_insert(job);
    }
    last
}

fn item_table(items: &[ItemView], last: &HashMap<&str, &JobView>) -> Markup {
    html! {
        div.scroll {
            table {
                caption { "Protected VMs" }
                thead { tr {
                    th scope="col" { "VM" } th scope="col" { "Standing" } th scope="col" { "Last result" }
                    th scope="col" { "Last recovery point" } th scope="col" { "Next start" }
                    th scope="col" { "Policy" } th scope="col" { "Vault" }
                } }
                tbody {
                    @if items.is_empty() { tr { td colspan="7" { "No VM is protected yet." } } }
                    @for item in items {
                        tr {
                            th scope="row" { (item.name) }
                            td { (mark(item.standing.map_or("unknown", Standing::word))) }
                            td {
                                @match last.get(item.name.as_str()) {
                                    Some(job) => { (job_link(job)) }
                                    None => { "–" }
                                }
                            }
                            td { (time(item.last_point_at)) }
                            td { (time(item.next_start_at)) }
                            td { (item.policy) }
                            td { (item.vault) }
                        }
                    }
                }
            }
        }
    }
}

fn job_link(job: &JobView) -> Markup {
    html! { a href={ "/jobs/" (job.id) } { (mark(&word(job.state))) } }
}

fn job_table(jobs: &[JobView]) -> Markup {
    html! {
        div.scroll {
            table {
                caption { "Jobs" }
                thead { tr {
                    th scope="col" { "Asked for" } th scope="col" { "What" } th scope="col" { "Of" }
                    th scope="col" { "State" } th scope="col" { "Progress" }
                } }
                tbody {
                    @if jobs.is_empty() { tr { td colspan="5" { "There was no job yet." } } }
                    @for job in jobs {
                        tr {
                            td { (time(Some(job.created_at))) }
                            td { (word(job.kind)) }
                            td { (job.subject) }
                            td { (job_link(job)) }
                            td { @if let Some(progress) = &job.progress { (progress.text()) } }
                        }
                    }
                }
            }
        }
    }
}

fn point_table(points: &[PointView]) -> Markup {
    html! {
        div.scroll {
            table {
                caption { "Recovery points" }
                thead { tr {
                    th scope="col" { "Taken" } th scope="col" { "VM" } th scope="col" { "Consistency" }
                    th scope="col" { "Size" } th scope="col" { "Stored" } th scope="col" { "Id" }
                } }
                tbody {
                    @if points.is_empty() { tr { td colspan="6" { "There is no recovery point yet." } } }
                    @for point in points {
                        tr {
                            td { (time(Some(point.taken_at))) }
                            td { (point.vm_name) }
                            td { (word(point.consistency)) }
                            td { (size(point.size_bytes)) }
                            td { (size(point.stored_bytes)) }
                            td { code { (point.id) } }
                        }
                    }
                }
            }
        }
    }
}

//! Requests that this process has answered. As many counts as there are routes and statuses: what a client
//! sends makes no new ones.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use axum::{
    extract::{MatchedPath, Request, State},
    http::Method,
    middleware::Next,
    response::Response,
};

use super::{
    table::{HTTP_DURATION, HTTP_REQUESTS},
    text::{Histogram, Page},
};
use crate::ApiState;

const BOUNDS: [f64; 8] = [0.001, 0.005, 0.02, 0.05, 0.1, 0.5, 2.0, 10.0];
/// What no route has.
const NOWHERE: &str = "none";

#[derive(Default)]
struct Took {
    up_to: [u64; BOUNDS.len()],
    count: u64,
    sum: f64,
}

#[derive(Default)]
struct Counts {
    answered: BTreeMap<(&'static str, String, u16), u64>,
    took: BTreeMap<String, Took>,
}

#[derive(Default)]
pub(crate) struct Requests(Mutex<Counts>);

impl Requests {
    fn note(&self, method: &'static str, route: &str, status: u16, took: Duration) {
        let took = took.as_secs_f64();
        let mut counts = self.counts();
        let answered = (method, route.to_owned(), status);
        *counts.answered.entry(answered).or_insert(0) += 1;
        let of_route = counts.took.entry(route.to_owned()).or_default();
        for (bound, number) in BOUNDS.iter().zip(&mut of_route.up_to) {
            *number += u64::from(took <= *bound);
        }
        of_route.count += 1;
        of_route.sum += took;
    }

    pub(crate) fn write(&self, page: &mut Page) {
        let counts = self.counts();
        let mut samples = page.metric(HTTP_REQUESTS);
        for ((method, route, status), number) in &counts.answered {
            samples.count(&[method, route, &status.to_string()], *number);
        }
        let mut samples = page.metric(HTTP_DURATION);
        for (route, took) in &counts.took {
            let histogram = Histogram {
                bounds: &BOUNDS,
                up_to: &took.up_to,
                count: took.count,
                sum: took.sum,
            };
            samples.histogram(&[route], histogram);
        }
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Counts a request and its answer.
pub(crate) async fn count(State(state): State<ApiState>, request: Request, next: Next) -> Response {
    let began = Instant::now();
    let method = word(request.method());
    let route = request.extensions().get::<MatchedPath>().cloned();
    let response = next.run(request).await;
    let route = route.as_ref().map_or(NOWHERE, MatchedPath::as_str);
    let status = response.status().as_u16();
    state.requests.note(method, route, status, began.elapsed());
    response
}

fn word(method: &Method) -> &'static str {
    const KNOWN: [&str; 7] = ["GET", "HEAD", "PUT", "POST", "DELETE", "PATCH", "OPTIONS"];
    let known = KNOWN.into_iter().find(|known| *known == method.as_str());
    known.unwrap_or("other")
}

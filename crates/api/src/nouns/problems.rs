//! The catalog of problems.

use axum::Json;
use tresor_api_types::{PageQuery, Paged, ProblemEntry};
use tresor_problem::{Entry, Kind, Problem};

use crate::{
    body::{Asked, Named},
    failure::{Answer, FailureBody},
    page::Bounds,
};

/// Every problem that there can be, by code.
#[utoipa::path(get, path = "/api/v1/problems", tag = "problems", params(PageQuery), responses(
    (status = 200, description = "A page of the catalog.", body = Paged<ProblemEntry>),
    (status = "4XX", description = "The problem.", body = FailureBody),
))]
pub(crate) async fn list(Asked(asked): Asked<PageQuery>) -> Answer<Json<Paged<ProblemEntry>>> {
    let bounds = Bounds::<String>::new("problems", asked.limit, asked.cursor.as_deref())?;
    let after = bounds.after.as_deref().unwrap_or_default();
    let mut entries: Vec<&Entry> = Kind::ENTRIES.iter().collect();
    entries.retain(|entry| entry.code > after);
    entries.sort_unstable_by_key(|entry| entry.code);
    Ok(bounds.page(entries, |entry| entry.code.to_owned(), view))
}

/// One of them.
#[utoipa::path(get, path = "/api/v1/problems/{code}", tag = "problems", params(("code" = String, Path, description = "Its code.")), responses(
    (status = 200, description = "The entry.", body = ProblemEntry),
    (status = "4XX", description = "The problem.", body = FailureBody),
))]
pub(crate) async fn show(Named(code): Named<String>) -> Answer<Json<ProblemEntry>> {
    match Kind::ENTRIES.iter().find(|entry| entry.code == code) {
        Some(entry) => Ok(Json(view(entry))),
        None => Err(Kind::ObjectNotFound {
            object: "problem".to_owned(),
            name: code,
        }
        .into()),
    }
}

fn view(entry: &Entry) -> ProblemEntry {
    ProblemEntry {
        code: entry.code.to_owned(),
        title: entry.title.to_owned(),
        cause: entry.cause.to_owned(),
        remedy: entry.remedy.iter().map(ToString::to_string).collect(),
        retry: entry.retry,
        fault: entry.fault,
        exit: entry.exit,
    }
}

/// A problem as it stands in a list.
pub(crate) fn without_detail(mut problem: Problem) -> Problem {
    problem.detail.clear();
    problem
}

#[cfg(test)]
mod tests {
    use tresor_api_types::ProblemView;
    use utoipa::PartialSchema as _;

    use super::*;

    #[test]
    fn what_is_described_is_what_is_sent() {
        let what = String::new();
        let mut problem = Problem::from(Kind::Internal { what });
        problem.detail.push(String::new());
        let sent = serde_json::to_value(problem).unwrap();
        let described = serde_json::to_value(ProblemView::schema()).unwrap();
        let keys = |value: &serde_json::Value| -> Vec<String> {
            value.as_object().unwrap().keys().cloned().collect()
        };
        let (mut sent, mut described) = (keys(&sent), keys(&described["properties"]));
        sent.sort();
        described.sort();
        assert_eq!(sent, described);
    }
}

//! A request that failed: its problem, and how HTTP says so.

use axum::{
    Json,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
pub(crate) use tresor_api_types::{FailureBody, FieldError};
use tresor_catalog::CatalogError;
use tresor_jobs::LogError;
use tresor_problem::{Kind, Problem};

use crate::status::status_of;

/// A request that failed.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) status: StatusCode,
    pub(crate) problem: Box<Problem>,
    pub(crate) errors: Vec<FieldError>,
    retry_after_s: Option<u64>,
}

pub(crate) type Answer<T> = Result<T, Failure>;

impl Failure {
    /// What cannot be understood.
    pub(crate) fn malformed(what: impl Into<String>) -> Self {
        let what = what.into();
        Kind::RequestMalformed { what }.into()
    }

    pub(crate) fn with_status(mut self, status: StatusCode) -> Self {
        self.status = status;
        self
    }

    pub(crate) fn with_errors(mut self, errors: Vec<FieldError>) -> Self {
        self.errors = errors;
        self
    }

    pub(crate) fn too_many(who: &str, pause_s: u64) -> Self {
        let mut failure = Self::from(Kind::TooManyRequests {
            who: who.to_owned(),
            pause_s: pause_s.to_string(),
        });
        failure.retry_after_s = Some(pause_s);
        failure
    }
}

impl From<Problem> for Failure {
    fn from(problem: Problem) -> Self {
        Self {
            status: status_of(&problem),
            problem: Box::new(problem),
            errors: Vec::new(),
            retry_after_s: None,
        }
    }
}

impl From<Kind> for Failure {
    fn from(kind: Kind) -> Self {
        Problem::from(kind).into()
    }
}

impl From<CatalogError> for Failure {
    fn from(error: CatalogError) -> Self {
        Problem::from(&error).into()
    }
}

impl From<LogError> for Failure {
    fn from(error: LogError) -> Self {
        Problem::from(&error).into()
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let mut problem = *self.problem;
        if self.status.is_server_error() {
            tracing::error!(%problem, detail = ?problem.detail, "a request failed");
        }
        // For the operator, who has the log.
        problem.detail.clear();
        let body = FailureBody {
            problem,
            errors: self.errors,
        };
        let mut response = (self.status, Json(body)).into_response();
        let headers = response.headers_mut();
        if self.status == StatusCode::UNAUTHORIZED {
            let scheme = HeaderValue::from_static("Bearer realm=\"tresor\"");
            headers.insert(header::WWW_AUTHENTICATE, scheme);
        }
        if let Some(pause_s) = self.retry_after_s {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(pause_s));
        }
        response
    }
}

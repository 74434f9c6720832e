//! Which HTTP status a problem has: a pure table.

use axum::http::StatusCode;
use tresor_problem::{ExitClass, Problem};

/// The status of an answer that is this problem: by its code where HTTP tells more apart than exit codes
/// do, else by its exit class.
#[must_use]
pub fn status_of(problem: &Problem) -> StatusCode {
    match problem.code.as_str() {
        "ApiTokenInvalid" | "LoginRefused" => StatusCode::UNAUTHORIZED,
        "PermissionDenied" => StatusCode::FORBIDDEN,
        "RequestMalformed" => StatusCode::BAD_REQUEST,
        "RequestTooLarge" => StatusCode::PAYLOAD_TOO_LARGE,
        "RequestTimedOut" => StatusCode::GATEWAY_TIMEOUT,
        "ObjectChanged" => StatusCode::PRECONDITION_FAILED,
        "RevisionNeeded" => StatusCode::PRECONDITION_REQUIRED,
        "TooManyRequests" => StatusCode::TOO_MANY_REQUESTS,
        "ObjectExists" | "VmExists" | "VaultExists" | "ObjectInUse" | "ProtectionStopped" => {
            StatusCode::CONFLICT
        }
        "NotificationFailed" => StatusCode::BAD_GATEWAY,
        "IdentityProviderUnusable"
        | "StateUnusable"
        | "DatabaseUnreachable"
        | "DatabaseRefused"
        | "DatabaseFull" => StatusCode::SERVICE_UNAVAILABLE,
        _ => of_class(problem.exit),
    }
}

fn of_class(class: ExitClass) -> StatusCode {
    match class {
        ExitClass::Usage => StatusCode::UNPROCESSABLE_ENTITY,
        ExitClass::NotFound => StatusCode::NOT_FOUND,
        ExitClass::Busy | ExitClass::Interrupted => StatusCode::CONFLICT,
        ExitClass::Vm | ExitClass::Storage => StatusCode::BAD_GATEWAY,
        ExitClass::Failure | ExitClass::Key | ExitClass::Damage => {
            StatusCode::INTERNAL_SERVER_ERROR
        }
    }
}

#[cfg(test)]
mod tests {
    use tresor_problem::Kind;

    use super::*;

    #[test]
    fn a_table_of_statuses() {
        let text = String::new;
        let (object, name) = (text(), text());
        let cases = [
            (Kind::ApiTokenInvalid { reason: text() }, 401),
            (
                Kind::PermissionDenied {
                    role: text(),
                    action: text(),
                },
                403,
            ),
            (Kind::VmNotFound { vm: text() }, 404),
            (Kind::JobNotFound { job: text() }, 404),
            (
                Kind::ObjectNotFound {
                    object: text(),
                    name: text(),
                },
                404,
            ),
            (
                Kind::ObjectInUse {
                    object: text(),
                    name: text(),
                },
                409,
            ),
            (
                Kind::VmBusy {
                    vm: text(),
                    job: text(),
                    holder: text(),
                },
                409,
            ),
            (Kind::ObjectChanged { object, name }, 412),
            (Kind::RequestTooLarge { limit: text() }, 413),
            (
                Kind::PolicyInvalid {
                    policy: text(),
                    wrong: text(),
                },
                422,
            ),
            (Kind::RequestKeyReused { key: text() }, 422),
            (Kind::RequestInProgress { key: text() }, 409),
            (
                Kind::TooManyRequests {
                    who: text(),
                    pause_s: text(),
                },
                429,
            ),
            (Kind::RequestMalformed { what: text() }, 400),
            (Kind::Internal { what: text() }, 500),
            (
                Kind::StateUnusable {
                    path: text(),
                    reason: text(),
                },
                503,
            ),
            (
                Kind::DatabaseUnreachable {
                    database: text(),
                    reason: text(),
                },
                503,
            ),
        ];
        for (kind, expected) in cases {
            let problem = Problem::from(kind);
            assert_eq!(status_of(&problem), expected, "{}", problem.code);
        }
    }

    #[test]
    fn every_class_is_a_failure() {
        for entry in Kind::ENTRIES {
            let status = of_class(entry.exit);
            assert!(
                status.is_client_error() || status.is_server_error(),
                "{}",
                entry.code
            );
        }
    }
}

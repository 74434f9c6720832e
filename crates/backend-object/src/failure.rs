//! What a failed exchange means.

use std::fmt;

use http::StatusCode;
use object_store::client::HttpErrorKind;
use tresor_backend::{Error, ErrorKind};

use crate::wire::{Said, Seen};

/// What the store said, without anything secret: the library's own text has URLs in it.
#[derive(Debug)]
pub(crate) struct Words(String);

impl fmt::Display for Words {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Words {}

/// Makes the error of an operation from what was seen during it.
pub(crate) fn failed(
    operation: &'static str,
    object: &str,
    error: &object_store::Error,
    seen: Option<&Seen>,
) -> Error {
    let kind = judge(operation, seen);
    Error::new(kind, operation, object).because(Words(describe(error, seen)))
}

/// Decides by the last exchange of a call that failed.
pub(crate) fn judge(operation: &str, seen: Option<&Seen>) -> ErrorKind {
    match seen {
        // Refused before anything was sent: settings, or credentials that make no sense.
        None => ErrorKind::Denied,
        Some(Seen::NoAnswer {
            asking_for_credentials: true,
            ..
        }) => ErrorKind::Denied,
        // Whether it arrived is not known, whatever the kind.
        Some(Seen::NoAnswer { .. }) => ErrorKind::Unavailable,
        Some(Seen::Answer { status, said }) => judge_answer(operation, *status, said),
    }
}

fn judge_answer(operation: &str, status: StatusCode, said: &Said) -> ErrorKind {
    let creating = operation == "put";
    match (status.as_u16(), said.code.as_str()) {
        // The answer began well and was cut, or was not what was expected.
        (200..=299, _) => ErrorKind::Unavailable,
        (_, "NoSuchBucket" | "ContainerNotFound" | "InvalidBucketName") => ErrorKind::Unfit,
        (404, _) if creating => ErrorKind::Unfit,
        (404, _) => ErrorKind::NotFound,
        (412 | 304, _) if creating => ErrorKind::AlreadyExists,
        // Azure's way to say it. Another 409 is a race that the server did not decide.
        (409, "BlobAlreadyExists") if creating => ErrorKind::AlreadyExists,
        (_, code) if is_held(code, &said.text) => ErrorKind::Retained,
        (409, _) => ErrorKind::Unavailable,
        (416, _) => ErrorKind::BadRange,
        (507, _) => ErrorKind::Full,
        (_, code) if is_full(code) => ErrorKind::Full,
        (400, "RequestTimeout" | "IncompleteBody" | "BadDigest" | "XAmzContentSHA256Mismatch") => {
            ErrorKind::Unavailable
        }
        (400, "ExpiredToken" | "InvalidToken") | (401 | 403 | 407, _) => ErrorKind::Denied,
        (408 | 425 | 429 | 500 | 502..=504, _) => ErrorKind::Unavailable,
        (300..=399 | 405 | 501, _) => ErrorKind::Unfit,
        _ => ErrorKind::Io,
    }
}

/// The object is there to stay: by a policy of Azure's or Google's, or by S3's Object Lock, which says
/// "access denied" (AWS, in words) or "invalid request" (`MinIO`).
fn is_held(code: &str, text: &str) -> bool {
    let codes = [
        "BlobImmutableDueToPolicy",
        "BlobHasLegalHold",
        "ObjectUnderActiveHold",
        "RetentionPolicyNotMet",
    ];
    let words = ["protected by object lock", "WORM protected"];
    codes.contains(&code) || words.iter().any(|words| text.contains(words))
}

fn is_full(code: &str) -> bool {
    let end = [
        "QuotaExceeded",
        "StorageFull",
        "InsufficientStorage",
        "AccountLimitExceeded",
    ];
    end.iter().any(|end| code.ends_with(end))
}

fn describe(error: &object_store::Error, seen: Option<&Seen>) -> String {
    known(seen).unwrap_or_else(|| innermost(error))
}

/// What was seen of a request of our own that failed.
pub(crate) fn words(seen: Option<&Seen>) -> Words {
    Words(known(seen).unwrap_or_else(|| "the server did not answer".to_owned()))
}

fn known(seen: Option<&Seen>) -> Option<String> {
    match seen? {
        Seen::Answer { status, said } if !status.is_success() => {
            let mut text = format!("the server answered {status}");
            for words in [&said.code, &said.text] {
                if !words.is_empty() {
                    text = format!("{text}: {words}");
                }
            }
            Some(text)
        }
        Seen::NoAnswer {
            asking_for_credentials: true,
            ..
        } => {
            Some("no credentials were given, and this machine has no role that has some".to_owned())
        }
        Seen::NoAnswer {
            kind: HttpErrorKind::Timeout,
            ..
        } => Some("the server did not answer in time".to_owned()),
        _ => None,
    }
}

/// The deepest cause: the library repeats it at each level.
fn innermost(error: &dyn std::error::Error) -> String {
    let mut at = error;
    while let Some(below) = at.source() {
        at = below;
    }
    at.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, code: &str) -> Option<Seen> {
        let said = Said {
            code: code.to_owned(),
            text: String::new(),
        };
        Some(Seen::Answer {
            status: StatusCode::from_u16(status).unwrap(),
            said,
        })
    }

    #[test]
    fn answers_are_told_apart() {
        use ErrorKind::{
            AlreadyExists, BadRange, Denied, Full, Io, NotFound, Retained, Unavailable, Unfit,
        };
        for (operation, status, code, want) in [
            ("get", 404, "NoSuchKey", NotFound),
            ("stat", 404, "", NotFound),
            ("get", 404, "NoSuchBucket", Unfit),
            ("put", 404, "", Unfit),
            ("put", 412, "PreconditionFailed", AlreadyExists),
            ("put", 304, "", AlreadyExists),
            ("put", 409, "BlobAlreadyExists", AlreadyExists),
            ("put", 409, "ConditionalRequestConflict", Unavailable),
            ("put", 409, "OperationAborted", Unavailable),
            ("delete", 409, "BlobImmutableDueToPolicy", Retained),
            ("delete", 403, "ObjectUnderActiveHold", Retained),
            ("delete", 403, "AccessDenied", Denied),
            ("get", 401, "", Denied),
            ("get", 403, "RequestTimeTooSkewed", Denied),
            ("put", 403, "QuotaExceeded", Full),
            ("put", 507, "", Full),
            ("put", 400, "XMinioStorageFull", Full),
            ("put", 400, "RequestTimeout", Unavailable),
            ("put", 400, "ExpiredToken", Denied),
            ("put", 400, "InvalidArgument", Io),
            ("put", 503, "SlowDown", Unavailable),
            ("put", 429, "", Unavailable),
            ("put", 500, "InternalError", Unavailable),
            ("put", 501, "NotImplemented", Unfit),
            ("list", 301, "PermanentRedirect", Unfit),
            ("get_range", 416, "InvalidRange", BadRange),
            ("get", 200, "", Unavailable),
        ] {
            let kind = judge(operation, answer(status, code).as_ref());
            assert_eq!(kind, want, "{operation} {status} {code}");
        }
    }

    /// Where only the words tell.
    #[test]
    fn held_by_object_lock() {
        for (status, code, text) in [
            (
                403,
                "AccessDenied",
                "Access Denied because object protected by object lock.",
            ),
            (
                400,
                "InvalidRequest",
                "Object is WORM protected and cannot be overwritten",
            ),
        ] {
            let said = Said {
                code: code.to_owned(),
                text: text.to_owned(),
            };
            let status = StatusCode::from_u16(status).unwrap();
            let seen = Seen::Answer { status, said };
            assert_eq!(judge("delete", Some(&seen)), ErrorKind::Retained, "{text}");
        }
    }

    /// Never "exists already" without a server that says so: the vault would build on nothing.
    #[test]
    fn silence_proves_nothing() {
        for kind in [
            HttpErrorKind::Connect,
            HttpErrorKind::Request,
            HttpErrorKind::Timeout,
            HttpErrorKind::Interrupted,
            HttpErrorKind::Decode,
            HttpErrorKind::Unknown,
        ] {
            let seen = Seen::NoAnswer {
                asking_for_credentials: false,
                kind,
            };
            assert_eq!(
                judge("put", Some(&seen)),
                ErrorKind::Unavailable,
                "{kind:?}"
            );
            let seen = Seen::NoAnswer {
                asking_for_credentials: true,
                kind,
            };
            assert_eq!(judge("put", Some(&seen)), ErrorKind::Denied, "{kind:?}");
        }
        assert_eq!(judge("put", None), ErrorKind::Denied);
    }
}

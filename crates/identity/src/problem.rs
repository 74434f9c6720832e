//! What users see of this crate's failures.

use tresor_model::HostId;
use tresor_problem::{Kind, Problem};

use crate::{Action, AdmitError, Error, HandshakeError, HandshakeErrorKind, Role, TokenError};

impl From<&Error> for Problem {
    fn from(error: &Error) -> Self {
        let path = match error.path() {
            "" => "this process".to_owned(),
            path => path.to_owned(),
        };
        let reason = error.detail().to_owned();
        Self::caused_by(Kind::IdentityUnusable { path, reason }, error)
    }
}

impl From<&AdmitError> for Problem {
    fn from(error: &AdmitError) -> Self {
        let reason = error.to_string();
        let kind = match error {
            AdmitError::Expired { host, until } => Kind::HostCertificateExpired {
                host: host.to_string(),
                reason: format!("it ended at {until}"),
            },
            AdmitError::Replaced { host }
            | AdmitError::Revoked { host }
            | AdmitError::Unknown { host } => {
                let host = host.to_string();
                Kind::HostNotEnrolled { host, reason }
            }
            AdmitError::AnotherHost { claimed, .. } => {
                let host = claimed.to_string();
                Kind::HostNotEnrolled { host, reason }
            }
            AdmitError::RollUnusable { source } => {
                let what = format!("The roll of hosts cannot be read: {source}.");
                Kind::Internal { what }
            }
        };
        Self::caused_by(kind, error)
    }
}

impl TokenError {
    /// As a user sees it who gave an enrolment token.
    #[must_use]
    pub fn enrolment_problem(&self) -> Problem {
        let reason = self.to_string();
        Problem::caused_by(Kind::EnrolmentTokenInvalid { reason }, self)
    }

    /// As a user sees it who gave an API token.
    #[must_use]
    pub fn api_problem(&self) -> Problem {
        let reason = self.to_string();
        Problem::caused_by(Kind::ApiTokenInvalid { reason }, self)
    }
}

impl HandshakeError {
    /// As a host or a user sees it who wanted to reach `server`; `host` is which host it is, if it is one.
    #[must_use]
    pub fn client_problem(&self, server: &str, host: Option<HostId>) -> Problem {
        use HandshakeErrorKind as Failed;
        let (server, reason) = (server.to_owned(), self.to_string());
        let kind = match (self.kind(), host) {
            (Failed::RefusedExpired, Some(host)) => Kind::HostCertificateExpired {
                host: host.to_string(),
                reason,
            },
            (Failed::RefusedUnknownAuthority | Failed::CertificateNeeded, Some(host)) => {
                Kind::HostNotEnrolled {
                    host: host.to_string(),
                    reason,
                }
            }
            (
                Failed::Expired
                | Failed::NotValidYet
                | Failed::UnknownAuthority
                | Failed::WrongFingerprint
                | Failed::NotTheService
                | Failed::WrongName
                | Failed::WrongPurpose
                | Failed::BadCertificate,
                _,
            ) => Kind::ServerNotTrusted { server, reason },
            (
                Failed::RefusedExpired
                | Failed::RefusedUnknownAuthority
                | Failed::CertificateNeeded
                | Failed::Refused
                | Failed::NoCommonProtocol
                | Failed::Protocol
                | Failed::Lost,
                _,
            ) => Kind::ServiceUnreachable { server, reason },
        };
        Problem::caused_by(kind, self)
    }
}

impl Action {
    /// What somebody is told who may not do it.
    #[must_use]
    pub fn denied(self, role: Role) -> Problem {
        let (role, action) = (role.to_string(), self.name().to_owned());
        Kind::PermissionDenied { role, action }.into()
    }
}

//! The documents of the REST API (`docs/api`): what the service sends and takes, and its clients take and send.
//!
//! Pure. The service and the client have the same types, so that neither can drift from the other; the OpenAPI
//! document is made from them. A reader ignores members that it does not know, and what a client sends is refused
//! when it has one.

mod alerts;
mod audit;
mod channels;
mod datasources;
mod failure;
mod hosts;
mod items;
mod job_detail;
mod jobs;
mod page;
mod points;
mod policies;
mod problems;
mod status;
mod tokens;
mod vaults;

pub use alerts::{AlertQuery, AlertView};
pub use audit::{AuditQuery, AuditView};
pub use channels::{ChannelList, ChannelView, NewChannel};
pub use datasources::{DatasourceQuery, DatasourceView};
pub use failure::{FailureBody, FieldError};
pub use hosts::{HostView, MadeEnrolment, NewEnrolment};
pub use items::{ItemQuery, ItemView, Protect, Standing};
pub use job_detail::{JobDetail, JobNews, SubTask, SubTaskNews, WarningView};
pub use jobs::{JobQuery, JobView, ProgressView};
pub use page::{PageQuery, Paged};
pub use points::{PointQuery, PointView, Restore};
pub use policies::PolicyView;
pub use problems::{ProblemEntry, ProblemView};
pub use status::{ItemCounts, StatusView};
pub use tokens::{MadeToken, NewToken, TokenView};
pub use vaults::{Copy, VaultView, Verify};

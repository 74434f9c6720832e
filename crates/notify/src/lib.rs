//! Notifications go out: by webhook, by mail, and as a heartbeat that says by its silence that nobody is there.
//!
//! What is told, to whom and when is decided elsewhere (`tresor-service`); here it is worded and sent.
//!
//! # Invariants
//! - Names, causes and answers come from guests and networks: control characters never reach a header or a line
//!   of their own, mails have no HTML, and a webhook's template is filled in as JSON, not as text.
//! - Secrets, and the paths of URLs, which often are some, are in no error and no log.
//! - Every call has a time limit, and no more of an answer is read than is told.

mod error;
mod event;
mod heartbeat;
mod mail;
mod sender;
mod settings;
mod text;
mod webhook;

pub use error::SendError;
pub use event::{Event, EventKind, Message};
pub use sender::Sender;
pub use settings::{Mail, Quiet, Settings, Tls, Way, Webhook, Wrong, shown_url};
pub use text::one_line;

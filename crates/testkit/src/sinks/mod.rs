//! Servers on the loopback that keep what they are sent: HTTP and mail.

mod http;
mod mail;

pub use http::{Answering, Heard, HttpSink};
pub use mail::{MAIL_PASSWORD, MAIL_USER, MailSink, MailTls};

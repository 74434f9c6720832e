//! A mail in plain text.

use std::time::Duration;

use lettre::{
    AsyncSmtpTransport, AsyncTransport as _, Message as Letter, Tokio1Executor,
    message::{
        Mailbox, SinglePart,
        header::{Header, HeaderName, HeaderValue},
    },
    transport::smtp::{
        authentication::Credentials,
        client::{Tls as Protection, TlsParameters},
    },
};

use crate::{
    Mail, Message, SendError, Tls, error::chain, sender::LIMIT, text::one_line, webhook::fill,
};

/// For a mail, from the connection to the server's word that it has it.
const TALK: Duration = Duration::from_secs(45);

/// Says to mail programs that nobody wrote this: no answer by a machine (RFC 3834).
#[derive(Debug, Clone)]
struct AutoSubmitted;

impl Header for AutoSubmitted {
    fn name() -> HeaderName {
        HeaderName::new_from_ascii_str("Auto-Submitted")
    }

    fn parse(_: &str) -> Result<Self, Box<dyn std::error::Error + Send + Sync>> {
        Ok(Self)
    }

    fn display(&self) -> HeaderValue {
        HeaderValue::new(Self::name(), "auto-generated".to_owned())
    }
}

pub(crate) async fn send(
    mail: &Mail,
    password: Option<&str>,
    message: &Message,
) -> Result<(), SendError> {
    let letter = letter(mail, message)?;
    let transport = transport(mail, password)?;
    let server = format!("{}:{}", mail.server, mail.port());
    // The library's own limit is for connecting only.
    let sent = tokio::time::timeout(TALK, transport.send(letter)).await;
    let Ok(sent) = sent else {
        let reason = "it says nothing any more".to_owned();
        return Err(SendError::Unreachable { server, reason });
    };
    match sent {
        Ok(_) => Ok(()),
        Err(error) if error.is_permanent() || error.is_transient() => Err(SendError::Refused {
            server,
            answer: chain(&error),
        }),
        Err(error) => Err(SendError::Unreachable {
            server,
            reason: chain(&error),
        }),
    }
}

fn letter(mail: &Mail, message: &Message) -> Result<Letter, SendError> {
    let template = mail.subject.as_deref().unwrap_or("[tresor] {title}");
    let subject = one_line(&fill(template, message), 200);
    let from: Mailbox = mail.from.parse().map_err(unfit)?;
    let mut letter = Letter::builder()
        .from(from.clone())
        .subject(subject)
        .header(AutoSubmitted)
        .date_now();
    let events = message.events();
    if let (Some(first), Some(last)) = (events.first(), events.last()) {
        // The same for the same events each time that they are sent: mail programs show them once.
        let (domain, number) = (from.email.domain(), events.len());
        let id = format!("<{}.{}.{number}@{domain}>", first.id, last.id);
        letter = letter.message_id(Some(id));
    }
    for to in &mail.to {
        letter = letter.to(to.parse().map_err(unfit)?);
    }
    letter
        .singlepart(SinglePart::plain(message.text()))
        .map_err(unfit)
}

fn transport(
    mail: &Mail,
    password: Option<&str>,
) -> Result<AsyncSmtpTransport<Tokio1Executor>, SendError> {
    let parameters = || TlsParameters::new_rustls(mail.server.clone()).map_err(unfit);
    let protection = match mail.tls {
        Tls::Starttls => Protection::Required(parameters()?),
        Tls::Implicit => Protection::Wrapper(parameters()?),
        Tls::None => Protection::None,
    };
    let mut builder = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(&mail.server)
        .port(mail.port())
        .tls(protection)
        .timeout(Some(LIMIT));
    if let (Some(user), Some(password)) = (&mail.user, password) {
        builder = builder.credentials(Credentials::new(user.clone(), password.to_owned()));
    }
    Ok(builder.build())
}

fn unfit(error: impl std::error::Error + 'static) -> SendError {
    SendError::Unfit {
        reason: chain(&error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::tests::{HOSTILE, failed};

    #[test]
    fn a_hostile_name_makes_no_header_and_no_html() {
        let mail = Mail {
            server: "mx.example.org".to_owned(),
            port: None,
            tls: Tls::Starttls,
            user: None,
            from: "Tresor <tresor@example.org>".to_owned(),
            to: vec!["ops@example.org".to_owned()],
            subject: Some("{subject}: {title}".to_owned()),
        };
        let message = Message::new(vec![failed(HOSTILE)]).unwrap();
        let letter = String::from_utf8(letter(&mail, &message).unwrap().formatted()).unwrap();
        let (headers, _) = letter.split_once("\r\n\r\n").unwrap();
        for header in headers.split("\r\n") {
            let lower = header.to_ascii_lowercase();
            assert!(
                !lower.starts_with("bcc") && !lower.contains("html"),
                "{headers}"
            );
        }
        assert!(headers.contains("Content-Type: text/plain"), "{headers}");
        assert!(
            headers.contains("Auto-Submitted: auto-generated"),
            "{headers}"
        );
        assert!(
            headers.contains(&message.events()[0].id.to_string()),
            "{headers}"
        );
    }
}

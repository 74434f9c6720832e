//! A POST of JSON, signed.
//!
//! `Tresor-Signature: sha256=<hex>` is HMAC-SHA256 with the channel's secret over the bytes of
//! `Tresor-Timestamp`, a full stop, and the body. The time bounds how long somebody can use a copy of it.

use std::fmt::Write as _;

use aws_lc_rs::hmac;
use jiff::Timestamp;
use reqwest::header::CONTENT_TYPE;
use serde_json::Value;

use crate::{Message, SendError, Sender, Webhook, settings::shown_url};

pub(crate) async fn send(
    sender: &Sender,
    webhook: &Webhook,
    secret: Option<&str>,
    message: &Message,
    now: Timestamp,
) -> Result<(), SendError> {
    let body = body(webhook, message)?;
    let mut request = sender
        .http
        .post(&webhook.url)
        .header(CONTENT_TYPE, "application/json");
    if let Some(secret) = secret {
        let time = now.as_second().to_string();
        let signature = format!("sha256={}", sign(secret, &time, &body));
        request = request
            .header("Tresor-Timestamp", time)
            .header("Tresor-Signature", signature);
    }
    sender
        .ask(&shown_url(&webhook.url), request.body(body))
        .await
}

fn body(webhook: &Webhook, message: &Message) -> Result<String, SendError> {
    let body = match &webhook.template {
        Some(template) => Ok(filled(template, message).to_string()),
        None => serde_json::to_string(message),
    };
    body.map_err(|error| SendError::Unfit {
        reason: error.to_string(),
    })
}

/// The template with its strings filled in: what is filled in stays inside of them.
fn filled(template: &Value, message: &Message) -> Value {
    match template {
        Value::String(text) => Value::String(fill(text, message)),
        Value::Array(all) => all.iter().map(|each| filled(each, message)).collect(),
        Value::Object(all) => {
            let all = all.iter();
            let all = all.map(|(name, each)| (name.clone(), filled(each, message)));
            Value::Object(all.collect())
        }
        other => other.clone(),
    }
}

/// Each place once: what is filled in is not looked at again.
pub(crate) fn fill(template: &str, message: &Message) -> String {
    let (mut text, mut rest) = (String::new(), template);
    while let Some(start) = rest.find('{') {
        let (before, from) = rest.split_at(start);
        text.push_str(before);
        let Some(end) = from.find('}') else {
            rest = from;
            break;
        };
        match value(&from[1..end], message) {
            Some(value) => text.push_str(&value),
            None => text.push_str(&from[..=end]),
        }
        rest = &from[end + 1..];
    }
    text + rest
}

fn value(name: &str, message: &Message) -> Option<String> {
    let first = message.events().first()?;
    Some(match name {
        "title" => message.title(),
        "text" => message.text(),
        "subject" => crate::one_line(&first.subject, 80),
        "event" => first.kind.word().to_owned(),
        _ => return None,
    })
}

fn sign(secret: &str, time: &str, body: &str) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
    let tag = hmac::sign(&key, format!("{time}.{body}").as_bytes());
    tag.as_ref().iter().fold(String::new(), |mut hex, byte| {
        // Writing to a String cannot fail.
        write!(hex, "{byte:02x}").unwrap_or_default();
        hex
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::text::tests::{HOSTILE, failed};

    #[test]
    fn the_signature_is_what_openssl_makes() {
        // printf '1700000000.{"a":1}' | openssl dgst -sha256 -hmac hush
        let expected = "7cfd1df542c33ab7251748ffdc6e7fed278c63b83d4ece95a4534b0ad465571b";
        assert_eq!(sign("hush", "1700000000", r#"{"a":1}"#), expected);
    }

    #[test]
    fn a_template_is_filled_in_as_json() {
        let message = Message::new(vec![failed(HOSTILE)]).unwrap();
        let webhook = Webhook {
            url: "https://example.org".to_owned(),
            template: Some(
                json!({"text": "{title}: {none} {text}", "n": 1, "all": ["{event}", "{"]}),
            ),
        };
        let body: Value = serde_json::from_str(&body(&webhook, &message).unwrap()).unwrap();
        assert_eq!(body["all"], json!(["backup_failed", "{"]));
        let text = body["text"].as_str().unwrap();
        assert!(text.starts_with("Backup of web"), "{text}");
        assert!(
            text.contains("{none}") && text.contains("{title}"),
            "{text}"
        );
        assert_eq!(body.as_object().unwrap().len(), 3);
    }

    #[test]
    fn the_usual_body_has_each_event_with_its_problem() {
        let message = Message::new(vec![failed("a"), failed("b")]).unwrap();
        let webhook = Webhook {
            url: "https://example.org".to_owned(),
            template: None,
        };
        let body: Value = serde_json::from_str(&body(&webhook, &message).unwrap()).unwrap();
        assert_eq!(
            (&body["version"], &body["events"][1]["subject"]),
            (&json!(1), &json!("b"))
        );
        assert_eq!(body["events"][0]["event"], "backup_failed");
        assert_eq!(body["events"][0]["problem"]["code"], "VmNotFound");
    }
}

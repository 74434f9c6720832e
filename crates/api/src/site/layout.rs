//! What all pages have: the frame, the style, and what a browser may do with them.

use std::sync::LazyLock;

use aws_lc_rs::digest::{SHA256, digest};
use axum::{
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse as _, Response},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use jiff::Timestamp;
use maud::{DOCTYPE, Markup, PreEscaped, html};

use crate::Principal;

/// All of the style; no page loads anything else.
const STYLE: &str = include_str!("style.css");

/// Nothing may be loaded or run but the style above; no other site may frame the page.
static POLICY: LazyLock<HeaderValue> = LazyLock::new(|| {
    let hash = STANDARD.encode(digest(&SHA256, STYLE.as_bytes()));
    let text = format!(
        "default-src 'none'; style-src 'sha256-{hash}'; form-action 'self'; base-uri 'none'; \
         frame-ancestors 'none'"
    );
    // Base64 and the text above: nothing that a header refuses.
    HeaderValue::from_str(&text).unwrap_or_else(|_| HeaderValue::from_static("default-src 'none'"))
});

/// A whole page.
pub(super) fn page(title: &str, who: Option<&Principal>, body: &Markup) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (title) " – Tresor" }
                style { (PreEscaped(STYLE)) }
            }
            body {
                @if let Some(who) = who {
                    header {
                        a href="/" { "Tresor" }
                        form method="post" action="/logout" {
                            span { (who.name) ", " (who.role) }
                            button { "Log out" }
                        }
                    }
                }
                main { (body) }
            }
        }
    }
}

/// The answer that is this page.
pub(super) fn answer(page: &Markup) -> Response {
    with_status(StatusCode::OK, page)
}

/// The same with another status.
pub(super) fn with_status(status: StatusCode, page: &Markup) -> Response {
    let headers = [
        (
            header::CONTENT_TYPE,
            HeaderValue::from_static("text/html; charset=utf-8"),
        ),
        (header::CONTENT_SECURITY_POLICY, POLICY.clone()),
    ];
    (status, headers, page.0.clone()).into_response()
}

/// A moment, for people and machines.
pub(super) fn time(at: Option<Timestamp>) -> Markup {
    html! {
        @match at {
            Some(at) => {
                @let text = at.strftime("%Y-%m-%d %H:%M:%S UTC").to_string();
                time datetime=(at.to_string()) { (text) }
            }
            None => { "–" }
        }
    }
}

/// A word of the API, for people: `completed_with_warnings` with spaces, and a mark for its colour.
pub(super) fn state(word: &str) -> Markup {
    let mark = match word {
        "fresh" | "completed" | "succeeded" => "good",
        "late" | "vanished" | "failed" | "undo_failed" => "bad",
        "completed_with_warnings" | "cancelled" | "cancelling" | "stopped" => "warn",
        _ => "plain",
    };
    html! { span class=(mark) { (word.replace('_', " ")) } }
}

/// The word that the API has for it.
pub(super) fn word(value: impl serde::Serialize) -> String {
    let value = serde_json::to_value(value).unwrap_or_default();
    value.as_str().unwrap_or("–").to_owned()
}

/// A size, for people.
pub(super) fn size(bytes: u64) -> String {
    let units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    let place = usize::try_from(bytes.max(1).ilog2() / 10).unwrap_or_default();
    let (unit, shift) = (units[place.min(6)], 10 * place.min(6));
    match place {
        0 => format!("{bytes} B"),
        _ => {
            let tenths = (u128::from(bytes) * 10) >> shift;
            format!("{}.{} {unit}", tenths / 10, tenths % 10)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_for_people() {
        let cases = [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (1536, "1.5 KiB"),
            (5 << 30, "5.0 GiB"),
            (u64::MAX, "15.9 EiB"),
        ];
        for (bytes, text) in cases {
            assert_eq!(size(bytes), text);
        }
    }

    #[test]
    fn the_style_is_small() {
        assert!(STYLE.len() <= 4096);
        assert!(POLICY.to_str().unwrap().contains("sha256-"));
    }
}

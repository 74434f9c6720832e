//! What the double of Google Cloud Storage holds, and its answers about it. No I/O.

use std::collections::BTreeMap;
use std::ops::Bound;

use bytes::Bytes;
use http::{HeaderMap, Method, Response, StatusCode, header};

/// Names in one answer to a list: few, so that lists of tests have several pages.
const PAGE: usize = 100;

#[derive(Debug, Default)]
pub(super) struct Objects {
    held: BTreeMap<String, Object>,
    generation: u64,
}

#[derive(Debug)]
struct Object {
    body: Bytes,
    generation: u64,
}

type Answer = Result<Response<Bytes>, http::Error>;

impl Objects {
    /// Answers a request about one object.
    pub(super) fn answer(
        &mut self,
        method: &Method,
        key: &str,
        headers: &HeaderMap,
        body: Bytes,
    ) -> Answer {
        match *method {
            Method::PUT => self.put(key, headers, body),
            Method::GET | Method::HEAD => self.get(key, headers, *method == Method::HEAD),
            Method::DELETE => match self.held.remove(key) {
                Some(_) => Response::builder()
                    .status(StatusCode::NO_CONTENT)
                    .body(Bytes::new()),
                None => missing(),
            },
            _ => refuse(StatusCode::METHOD_NOT_ALLOWED, "MethodNotAllowed"),
        }
    }

    /// `x-goog-if-generation-match: 0` is "only if there is none".
    fn put(&mut self, key: &str, headers: &HeaderMap, body: Bytes) -> Answer {
        if let Some(wanted) = headers.get("x-goog-if-generation-match") {
            let there = self.held.get(key).map_or(0, |object| object.generation);
            if wanted.as_bytes() != there.to_string().as_bytes() {
                return refuse(StatusCode::PRECONDITION_FAILED, "PreconditionFailed");
            }
        }
        self.generation += 1;
        let object = Object {
            body,
            generation: self.generation,
        };
        let answer = described(StatusCode::OK, &object).body(Bytes::new());
        self.held.insert(key.to_owned(), object);
        answer
    }

    fn get(&self, key: &str, headers: &HeaderMap, head: bool) -> Answer {
        let Some(object) = self.held.get(key) else {
            return missing();
        };
        let size = object.body.len();
        let range = headers
            .get(header::RANGE)
            .and_then(|range| range.to_str().ok());
        let Some(range) = range else {
            let answer = described(StatusCode::OK, object).header(header::CONTENT_LENGTH, size);
            return answer.body(if head {
                Bytes::new()
            } else {
                object.body.clone()
            });
        };
        match place(range, size) {
            Some((start, end)) => described(StatusCode::PARTIAL_CONTENT, object)
                .header(
                    header::CONTENT_RANGE,
                    format!("bytes {start}-{}/{size}", end - 1),
                )
                .body(object.body.slice(start..end)),
            None => refuse(StatusCode::RANGE_NOT_SATISFIABLE, "InvalidRange"),
        }
    }

    /// Version 2 of the list, as S3 has it.
    pub(super) fn list(&self, query: &BTreeMap<String, String>) -> Answer {
        let word = |name: &str| query.get(name).map_or("", String::as_str);
        let prefix = word("prefix");
        let after = match word("continuation-token") {
            "" => word("start-after"),
            token => token,
        };
        let behind = (Bound::Excluded(after.to_owned()), Bound::Unbounded);
        let mut found = self
            .held
            .range(behind)
            .filter(|(key, _)| key.starts_with(prefix));
        let page: Vec<_> = found.by_ref().take(PAGE).collect();
        let more = page.last().filter(|_| found.next().is_some());
        let mut text = "<?xml version='1.0' encoding='UTF-8'?><ListBucketResult>".to_owned();
        for (key, object) in &page {
            text.push_str(&format!(
                "<Contents><Key>{key}</Key><LastModified>2026-01-01T00:00:00.000Z</LastModified>\
                 <ETag>\"{}\"</ETag><Size>{}</Size></Contents>",
                object.generation,
                object.body.len()
            ));
        }
        if let Some((last, _)) = more {
            text.push_str(&format!(
                "<NextContinuationToken>{last}</NextContinuationToken>"
            ));
        }
        text.push_str("</ListBucketResult>");
        Response::builder()
            .header(header::CONTENT_TYPE, "application/xml")
            .body(text.into())
    }
}

/// `bytes=A-B`, cut at the object's end; `None` when it begins behind it.
fn place(range: &str, size: usize) -> Option<(usize, usize)> {
    let (start, last) = range.strip_prefix("bytes=")?.split_once('-')?;
    let (start, last): (usize, usize) = (start.parse().ok()?, last.parse().ok()?);
    (start < size && start <= last).then(|| (start, size.min(last.saturating_add(1))))
}

fn described(status: StatusCode, object: &Object) -> http::response::Builder {
    Response::builder()
        .status(status)
        .header(header::ETAG, format!("\"{}\"", object.generation))
        .header("x-goog-generation", object.generation)
        .header(header::LAST_MODIFIED, "Thu, 01 Jan 2026 00:00:00 GMT")
}

fn missing() -> Answer {
    refuse(StatusCode::NOT_FOUND, "NoSuchKey")
}

pub(super) fn refuse(status: StatusCode, code: &str) -> Answer {
    let text = format!("<?xml version='1.0'?><Error><Code>{code}</Code></Error>");
    Response::builder().status(status).body(text.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_cut_at_the_end() {
        for (range, want) in [
            ("bytes=0-9", Some((0, 10))),
            ("bytes=3-3", Some((3, 4))),
            ("bytes=9-20", Some((9, 10))),
            ("bytes=10-10", None),
            ("bytes=5-3", None),
            ("items=0-1", None),
        ] {
            assert_eq!(place(range, 10), want, "{range}");
        }
    }
}

//! Whatever a request brings, the service answers it, and what it refuses is a problem with a remedy: every
//! endpoint with random paths, queries, headers and bodies, on both databases.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::{
    body::{Body, Bytes},
    http::{Request, Uri},
};
use futures::stream;
use proptest::{
    prelude::*,
    sample::{Index, select},
    test_runner::TestRunner,
};
use serde_json::{Value, json};
use tower::ServiceExt as _;
use tresor_api::{ApiOptions, ENDPOINTS, TokenAccess};
use tresor_catalog::{Catalog, TokenRole};
use tresor_problem::Kind;

use super::{
    postgres_server::PostgresServer,
    support::{Answered, Service},
};

const CASES: u32 = 3000;
/// No answer takes so long, whatever the machine does.
const HANGS: Duration = Duration::from_secs(120);
/// Longer than any body may be.
const TOO_LONG: usize = 8 << 20;

/// What is there, by what a path or a query may name.
struct Names(Vec<String>);

/// A request, before it is known what is there.
#[derive(Debug, Clone)]
struct Asked {
    endpoint: Index,
    places: Vec<Word>,
    query: Vec<(String, Word)>,
    headers: Vec<(&'static str, Vec<u8>)>,
    kind: &'static str,
    body: Vec<u8>,
}

/// A name in a path or a query.
#[derive(Debug, Clone)]
enum Word {
    Known(Index),
    Bytes(Vec<u8>),
}

fn word() -> impl Strategy<Value = Word> {
    let odd = select(vec![
        "",
        ".",
        "..",
        "0",
        "-1",
        "501",
        "18446744073709551616",
        "true",
        "local",
        "null",
        "\0",
        "a\0b",
        "\n",
        "%",
        "é",
        "\u{202e}",
        "'; DROP TABLE jobs; --",
        "00000000-0000-0000-0000-000000000000",
        "am9icwox",
    ]);
    prop_oneof![
        3 => any::<Index>().prop_map(Word::Known),
        2 => odd.prop_map(|text| Word::Bytes(text.as_bytes().to_vec())),
        1 => prop::collection::vec(any::<u8>(), 0..40).prop_map(Word::Bytes),
        1 => (1..4000_usize).prop_map(|long| Word::Bytes(vec![b'a'; long])),
    ]
}

/// Documents that some endpoint takes, to be damaged.
fn documents() -> Vec<Value> {
    let [policy, _] = tresor_policy::Policy::ready_made();
    vec![
        json!({ "policy": "nightly" }),
        json!({ "name": "ci", "role": "reader", "expires_at": "2999-01-01T00:00:00Z" }),
        json!({ "vm": null, "point": null, "since_last": false, "share": "2.5%" }),
        json!({ "to": "main", "vms": ["web01"], "points": [], "newest": 3, "older": true, "read_back": "none" }),
        json!({ "to": "images", "disks": ["dev-root"], "format": "raw", "overwrite": true }),
        json!({ "settings": { "way": "webhook", "url": "http://127.0.0.1:9/" }, "secret": "s" }),
        serde_json::to_value(policy).expect("works"),
    ]
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".{0,20}".prop_map(Value::from),
        select(vec!["\0", "1e999", "P1Y", "99999999999h", "*:*", "nightly"]).prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 32, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::hash_map(".{0,8}", inner, 0..6)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

/// A document with one of its parts replaced, removed or doubled, or as it is.
fn damaged() -> impl Strategy<Value = Value> {
    let parts = (select(documents()), any::<Index>(), value(), 0..4_u8);
    parts.prop_map(|(mut document, at, new, how)| {
        let Some(members) = document.as_object_mut() else {
            return document;
        };
        let name = at.get(&members.keys().cloned().collect::<Vec<_>>()).clone();
        match how {
            0 => drop(members.insert(name, new)),
            1 => drop(members.remove(&name)),
            2 => drop(members.insert("more".to_owned(), new)),
            _ => {}
        }
        document
    })
}

fn body() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        6 => damaged().prop_map(|value| value.to_string().into_bytes()),
        2 => value().prop_map(|value| value.to_string().into_bytes()),
        // Cut off, or with a byte that is none of UTF-8.
        2 => (damaged(), any::<Index>(), any::<bool>()).prop_map(|(value, at, cut)| {
            let mut bytes = value.to_string().into_bytes();
            let at = at.index(bytes.len());
            if cut { bytes.truncate(at) } else { bytes[at] = 0xff }
            bytes
        }),
        1 => prop::collection::vec(any::<u8>(), 0..2000),
        1 => (1..200_000_usize, any::<bool>()).prop_map(|(deep, closed)| {
            let mut text = "[".repeat(deep);
            if closed { text.push_str(&"]".repeat(deep)) }
            text.into_bytes()
        }),
    ]
}

fn headers() -> impl Strategy<Value = Vec<(&'static str, Vec<u8>)>> {
    let name = select(vec![
        "idempotency-key",
        "if-match",
        "last-event-id",
        "accept",
        "cookie",
        "range",
        "expect",
        "sec-fetch-site",
    ]);
    // What a header can have at all: no control characters.
    let text = prop_oneof![
        prop::collection::vec(prop_oneof![0x20..0x7f_u8, 0x80..=0xff_u8], 0..300),
        select(vec!["\"1\"", "1", "*", "k", "100-continue"])
            .prop_map(|text| text.as_bytes().to_vec()),
    ];
    prop::collection::vec((name, text), 0..4)
}

fn asked() -> impl Strategy<Value = Asked> {
    let names = select(vec![
        "limit",
        "cursor",
        "host",
        "vault",
        "policy",
        "state",
        "kind",
        "subject",
        "lane",
        "unfinished",
        "open",
        "actor",
        "object",
        "vm",
        "protected",
        "gone",
        "x",
    ]);
    let query = prop::collection::vec((names.prop_map(str::to_owned), word()), 0..3);
    let kind = prop_oneof![
        8 => Just("application/json"),
        1 => select(vec!["", "text/plain", "application/json; charset=utf-16", "multipart/form-data"]),
    ];
    let places = prop::collection::vec(word(), 1);
    (any::<Index>(), places, query, headers(), kind, body()).prop_map(
        |(endpoint, places, query, headers, kind, body)| Asked {
            endpoint,
            places,
            query,
            headers,
            kind,
            body,
        },
    )
}

impl Word {
    fn encoded(&self, names: &Names) -> String {
        let bytes = match self {
            Self::Known(at) => at.get(&names.0).as_bytes(),
            Self::Bytes(bytes) => bytes,
        };
        let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.".contains(byte);
        let written = bytes.iter().map(|byte| match plain(byte) {
            true => char::from(*byte).to_string(),
            false => format!("%{byte:02X}"),
        });
        written.collect()
    }
}

impl Asked {
    fn request(&self, names: &Names, token: &str) -> Request<Body> {
        let row = self.endpoint.get(ENDPOINTS);
        let parts = row.path.split('/').map(|part| match part.starts_with('{') {
            true => self.places[0].encoded(names),
            false => part.to_owned(),
        });
        let mut uri = parts.collect::<Vec<_>>().join("/");
        for (number, (name, word)) in self.query.iter().enumerate() {
            let mark = if number == 0 { '?' } else { '&' };
            uri.push_str(&format!("{mark}{name}={}", word.encoded(names)));
        }
        let mut request = Request::builder()
            .method(row.method)
            .uri(uri.parse::<Uri>().expect("a URI"))
            .header("authorization", format!("Bearer {token}"))
            .header("content-type", self.kind);
        for (name, value) in &self.headers {
            request = request.header(*name, value.as_slice());
        }
        request.body(Body::from(self.body.clone())).expect("works")
    }

    /// The stream has no end; only how it begins is looked at.
    fn is_stream(&self) -> bool {
        self.endpoint.get(ENDPOINTS).path == "/api/v1/events"
    }
}

/// It is an answer of the API: nothing that the service failed at, and a problem where it refuses.
fn check(asked: &Asked, answer: &Answered) -> Result<(), TestCaseError> {
    let row = asked.endpoint.get(ENDPOINTS);
    let what = format!("{} {} {answer:?}", row.method, row.path);
    if answer.status.is_success() {
        return Ok(());
    }
    let problem: Value = serde_json::from_str(&answer.text).unwrap_or_default();
    // A channel of theirs, which leads nowhere, could be tried.
    let is_theirs = answer.status == 502 && problem["code"] == "NotificationFailed";
    prop_assert!(answer.status.is_client_error() || is_theirs, "{what}");
    let code = problem["code"].as_str().unwrap_or_default();
    prop_assert!(
        Kind::ENTRIES.iter().any(|entry| entry.code == code),
        "{what}"
    );
    prop_assert!(problem["remedy"][0].is_string(), "{what}");
    prop_assert!(problem["detail"].is_null(), "{what}");
    Ok(())
}

async fn send(service: &Service, asked: &Asked, request: Request<Body>) -> Answered {
    if !asked.is_stream() {
        let answer = tokio::time::timeout(HANGS, service.send(request)).await;
        return answer.unwrap_or_else(|_| panic!("no answer: {asked:?}"));
    }
    let answer = service
        .router
        .clone()
        .oneshot(request)
        .await
        .expect("works");
    let (parts, body) = answer.into_parts();
    let text = match parts.status.is_success() {
        true => String::new(),
        false => {
            let bytes = axum::body::to_bytes(body, TOO_LONG).await;
            String::from_utf8_lossy(&bytes.expect("works")).into_owned()
        }
    };
    Answered {
        status: parts.status,
        headers: parts.headers,
        text,
    }
}

/// A service that has something of everything that a request can name.
async fn furnished(catalog: Option<Catalog>) -> (Service, Names) {
    let options = ApiOptions {
        burst: u32::MAX,
        ..ApiOptions::default()
    };
    let service = match catalog {
        None => Service::with(options).await,
        Some(catalog) => {
            let access =
                |catalog: &Arc<Catalog>| Arc::new(TokenAccess::new(Arc::clone(catalog))) as _;
            Service::over(catalog, access, options).await
        }
    };
    let token = service.token(TokenRole::Admin).await;
    let vm = service.vm("web01").await.to_string();
    let path = format!("/api/v1/items/{vm}");
    let protect = json!({ "policy": "nightly" });
    service
        .change(&token, ("PUT", &path), &protect, &[])
        .await
        .ok(200);
    let path = format!("/api/v1/items/{vm}/backup");
    let job = service
        .change(&token, ("POST", &path), &json!({}), &[])
        .await
        .ok(202);
    let job = job["id"].as_str().unwrap_or_default().to_owned();
    let names = [
        "main",
        "nightly",
        "hourly",
        "web01",
        "VmNotFound",
        "backup",
        "queued",
    ];
    let names = names.map(str::to_owned).into_iter().chain([vm, job]);
    (service, Names(names.collect()))
}

fn fuzz(catalog: impl AsyncFnOnce() -> Option<Catalog>) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build();
    let runtime = runtime.expect("a runtime");
    let (service, names) = runtime.block_on(async { furnished(catalog().await).await });
    let (answered, done) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let mut runner = TestRunner::new(ProptestConfig::with_cases(CASES));
    let outcome = runner.run(&asked(), |asked| {
        runtime.block_on(async {
            // A new one each time: some of them revoke what they find.
            let token = service.token(TokenRole::Admin).await;
            let request = asked.request(&names, &token);
            let answer = send(&service, &asked, request).await;
            answered.fetch_add(1, Ordering::Relaxed);
            done.fetch_add(usize::from(answer.status.is_success()), Ordering::Relaxed);
            check(&asked, &answer)
        })
    });
    outcome.unwrap_or_else(|error| panic!("{error}"));
    let (answered, done) = (answered.into_inner(), done.into_inner());
    // Else nothing but the gate was asked.
    assert!(done * 20 > answered, "{done} of {answered} were accepted");
}

#[test]
fn no_request_is_too_odd_for_sqlite() {
    fuzz(async || None);
}

#[test]
fn no_request_is_too_odd_for_postgresql() {
    let server = PostgresServer::start();
    let url = server.url();
    fuzz(async || {
        let opened = Catalog::connect(&url, "scratch server".to_owned()).await;
        Some(opened.expect("opens"))
    });
}

/// A body that never ends is read as far as the limit and no further.
#[tokio::test]
async fn a_body_without_end_is_not_read_to_its_end() {
    let service = Service::new().await;
    let token = service.token(TokenRole::Admin).await;
    for row in ENDPOINTS.iter().filter(|row| row.method != "GET") {
        let read = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&read);
        let endless = stream::repeat_with(move || {
            counted.fetch_add(1 << 16, Ordering::Relaxed);
            Ok::<_, std::io::Error>(Bytes::from_static(&[b' '; 1 << 16]))
        });
        let request = Request::builder()
            .method(row.method)
            .uri(row.path.replace(['{', '}'], ""))
            .header("authorization", format!("Bearer {token}"))
            .header("content-type", "application/json")
            .header("idempotency-key", uuid::Uuid::new_v4().to_string())
            .body(Body::from_stream(endless));
        let answer = tokio::time::timeout(HANGS, service.send(request.expect("works"))).await;
        let answer = answer.unwrap_or_else(|_| panic!("no answer: {row:?}"));
        // With a key it is read before anything else; the one that takes no key says so.
        match row.secret {
            true => answer.is(400, "RequestMalformed"),
            false => answer.is(413, "RequestTooLarge"),
        }
        let read = read.load(Ordering::Relaxed);
        assert!(read < TOO_LONG, "{row:?} read {read} bytes");
    }
}

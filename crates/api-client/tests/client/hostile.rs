//! Servers that are none of ours, or mean harm.

use std::sync::{Arc, Mutex};

use axum::{
    Router,
    extract::Request,
    http::StatusCode,
    response::{IntoResponse as _, Redirect},
};
use tresor_api_client::{Client, Https, Patience, types::JobQuery};
use tresor_identity::ApiTrust;
use zeroize::Zeroizing;

use crate::support::{HASTE, Port, Says, Script};

fn says(status: u16, body: &str) -> Says {
    Says::This(status, Vec::new(), body.to_owned())
}

#[tokio::test]
async fn what_is_no_answer_of_ours_is_a_problem_of_its_own() {
    let answers = [
        says(200, "<html>welcome</html>"),
        says(200, "{\"items\":7}"),
        says(200, ""),
        says(404, "<html>nothing here</html>"),
        says(500, "{\"code\":7}"),
        says(204, ""),
        Says::Endless(1 << 20),
        Says::This(302, vec![("location", "https://elsewhere/")], String::new()),
    ];
    for answer in answers {
        let script = Script::new([answer, says(200, "{}")]);
        let problem = script.client().jobs(&JobQuery::default()).next().await;
        let problem = problem.unwrap_err();
        assert!(problem.is("ServerAnswerUnusable"), "{problem}");
        assert_eq!(script.sends(), 1, "{problem}");
    }
}

#[tokio::test]
async fn a_list_that_never_ends_ends() {
    let again = r#"{"items":[],"next":"again"}"#;
    let script = Script::new([says(200, again), says(200, again), says(200, again)]);
    let problem = script.client().jobs(&JobQuery::default()).all().await;
    assert!(problem.unwrap_err().is("ServerAnswerUnusable"));
    assert_eq!(script.sends(), 2);
}

#[tokio::test]
async fn events_that_are_none_or_never_end_are_refused() {
    let job = "event: job\ndata: {\"job\":7}\n\n".to_owned();
    let long = format!("data: {}", "x".repeat(2 << 20));
    for text in [job, long] {
        let script = Script::new([says(200, &text)]);
        let problem = script.client().events().next().await.unwrap_err();
        assert!(problem.is("ServerAnswerUnusable"), "{problem}");
    }
    // One that ends at once, again and again, is given up.
    let script = Script::new((0..20).map(|_| says(200, "")));
    let problem = script.client().events().next().await.unwrap_err();
    assert!(problem.is("ServiceUnreachable"), "{problem}");
}

/// What came to a server.
type Heard = Arc<Mutex<Vec<Option<String>>>>;

fn recorder(
    heard: &Heard,
    answer: impl Fn() -> axum::response::Response + Clone + Send + Sync + 'static,
) -> Router {
    let heard = Arc::clone(heard);
    Router::new().fallback(move |request: Request| {
        let token = request.headers().get("authorization");
        let token = token.map(|token| token.to_str().unwrap().to_owned());
        heard.lock().unwrap().push(token);
        let answer = answer();
        async move { answer }
    })
}

#[tokio::test]
async fn a_token_never_follows_a_redirect() {
    let dir = tempfile::tempdir().unwrap();
    let (there, here) = (Heard::default(), Heard::default());
    let ok = || StatusCode::OK.into_response();
    let elsewhere = Port::open(recorder(&there, ok), dir.path()).await;
    for status in [301, 302, 303, 307, 308] {
        let to = format!("{}/api/v1/status", elsewhere.address);
        let redirect = move || {
            let mut answer = Redirect::temporary(&to).into_response();
            *answer.status_mut() = StatusCode::from_u16(status).unwrap();
            answer
        };
        // Of the same authority, so that trust alone would let it through.
        let port = Port::open(recorder(&here, redirect), dir.path()).await;
        let trust = ApiTrust::Authorities(port.trust.clone());
        let token = Zeroizing::new("secret".to_owned());
        let https = Https::new(&port.address, &trust, Some(&token)).unwrap();
        let client = Client::new(Arc::new(https)).with_patience(HASTE);
        let problem = client.status().await.unwrap_err();
        assert!(problem.is("ServerAnswerUnusable"), "{status}: {problem}");
        port.close().await;
    }
    assert_eq!(here.lock().unwrap().len(), 5);
    assert_eq!(here.lock().unwrap()[0].as_deref(), Some("Bearer secret"));
    assert!(there.lock().unwrap().is_empty(), "{there:?}");
    elsewhere.close().await;
}

#[tokio::test]
async fn nobody_there_is_said_so() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("https://{}", listener.local_addr().unwrap());
    drop(listener);
    let trust = ApiTrust::System;
    let Ok(https) = Https::new(&address.parse().unwrap(), &trust, None) else {
        // A machine without authorities of its own cannot go by them.
        return;
    };
    let client = Client::new(Arc::new(https)).with_patience(Patience { sends: 2, ..HASTE });
    let problem = client.description().await.unwrap_err();
    assert!(problem.is("ServiceUnreachable"), "{problem}");
    let looked = tresor_api_client::look(&address.parse().unwrap()).await;
    assert!(looked.unwrap_err().is("ServiceUnreachable"));
}

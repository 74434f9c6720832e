//! A provider that anybody could be: made-up tokens, and answers without end.

use std::collections::BTreeMap;

use aws_lc_rs::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _},
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};
use tresor_oidc::OidcError;

use crate::{CLIENT, provider};

/// Answers each path with its text, for as long as the test runs.
async fn serve(answers: impl FnOnce(&str) -> BTreeMap<&'static str, String>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let issuer = format!("http://{}", listener.local_addr().unwrap());
    let answers = answers(&issuer);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let (mut head, mut buffer) = (String::new(), [0; 4096]);
            while !head.contains("\r\n\r\n") {
                let got = stream.read(&mut buffer).await.unwrap_or(0);
                if got == 0 {
                    break;
                }
                head.push_str(&String::from_utf8_lossy(&buffer[..got]));
            }
            let path = head.split(' ').nth(1).unwrap_or_default();
            let answer = match answers.get(path) {
                Some(body) if body.starts_with("HTTP/") => body.clone(),
                Some(body) => format!(
                    "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
                    body.len()
                ),
                None => "HTTP/1.1 404 Not Found\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
                    .to_owned(),
            };
            drop(stream.write_all(answer.as_bytes()).await);
        }
    });
    issuer
}

const CONFIGURATION: &str = "/.well-known/openid-configuration";

fn configuration(issuer: &str) -> Value {
    json!({
        "issuer": issuer, "authorization_endpoint": format!("{issuer}/auth"),
        "token_endpoint": format!("{issuer}/token"), "jwks_uri": format!("{issuer}/keys"),
    })
}

/// A key of the provider, and a document with it.
fn key(name: &str) -> (EncodingKey, Value) {
    let algorithm = &ECDSA_P256_SHA256_FIXED_SIGNING;
    let pair = EcdsaKeyPair::generate_pkcs8(algorithm, &SystemRandom::new()).unwrap();
    let public = EcdsaKeyPair::from_pkcs8(algorithm, pair.as_ref()).unwrap();
    // 4, then both coordinates.
    let (x, y) = public.public_key().as_ref()[1..].split_at(32);
    let number = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
    let document = json!({
        "kty": "EC", "crv": "P-256", "use": "sig", "alg": "ES256", "kid": name,
        "x": number(x), "y": number(y),
    });
    (EncodingKey::from_ec_der(pair.as_ref()), document)
}

fn now() -> u64 {
    let now = std::time::SystemTime::now();
    now.duration_since(std::time::UNIX_EPOCH).unwrap().as_secs()
}

#[tokio::test]
async fn a_token_holds_only_when_all_of_it_does() {
    let (signing, public) = key("a");
    let (foreign, _) = key("a");
    let keys = json!({"keys": [{"kty": "new", "kid": "z"}, public]}).to_string();
    let issuer = serve(|issuer| {
        let configuration = configuration(issuer).to_string();
        BTreeMap::from([(CONFIGURATION, configuration), ("/keys", keys)])
    })
    .await;
    let provider = provider(&issuer);
    let good =
        json!({"iss": issuer, "aud": CLIENT, "sub": "7", "exp": now() + 600, "groups": ["x"]});
    let header = |name: &str| Header {
        kid: Some(name.to_owned()),
        ..Header::new(Algorithm::ES256)
    };
    let token = encode(&header("a"), &good, &signing).unwrap();
    assert_eq!(provider.identify(&token).await.unwrap().groups, ["x"]);

    let bad_claims = [
        ("iss", json!("https://evil.example.org")),
        ("iss", Value::Null),
        ("aud", json!("another")),
        ("aud", json!(["another"])),
        ("aud", Value::Null),
        ("azp", json!("another")),
        ("exp", json!(now() - 600)),
        ("exp", Value::Null),
        ("exp", json!("soon")),
        ("nbf", json!(now() + 600)),
        ("sub", Value::Null),
        ("sub", json!("")),
    ];
    for (name, value) in bad_claims {
        let mut claims = good.clone();
        match value {
            Value::Null => drop(claims.as_object_mut().unwrap().remove(name)),
            value => claims[name] = value,
        }
        let token = encode(&header("a"), &claims, &signing).unwrap();
        let error = provider.identify(&token).await.unwrap_err();
        assert!(
            matches!(error, OidcError::Refused { .. }),
            "{name}: {claims}: {error}"
        );
    }

    let shared = EncodingKey::from_secret(public_text(&token).as_bytes()).unwrap();
    let tokens = [
        encode(&header("a"), &good, &foreign).unwrap(),
        encode(&header("b"), &good, &signing).unwrap(),
        encode(&Header::new(Algorithm::HS256), &good, &shared).unwrap(),
        token.rsplit_once('.').unwrap().0.to_owned() + ".",
        token[..token.len() - 4].to_owned(),
        token.replace('.', ".."),
    ];
    for token in tokens {
        let error = provider.identify(&token).await.unwrap_err();
        assert!(
            matches!(error, OidcError::Refused { .. }),
            "{token}: {error}"
        );
    }
}

/// Whatever everybody has could be taken for a shared secret.
fn public_text(token: &str) -> String {
    token.split('.').next().unwrap().to_owned()
}

#[tokio::test]
async fn answers_that_no_provider_gives() {
    let endless = format!(
        "HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n\"{}",
        "x".repeat(3 << 20)
    );
    let elsewhere =
        "HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:9/\r\ncontent-length: 0\r\n\r\n";
    let documents = [
        String::new(),
        "{}".to_owned(),
        "[1]".to_owned(),
        "<html>".to_owned(),
        endless,
        elsewhere.to_owned(),
        configuration("http://127.0.0.1:9").to_string(),
    ];
    for document in documents {
        let issuer = serve(|_| BTreeMap::from([(CONFIGURATION, document)])).await;
        let error = provider(&issuer).begin().await.unwrap_err();
        assert!(matches!(error, OidcError::Provider { .. }), "{error}");
        assert!(error.to_string().len() < 500);
    }
}

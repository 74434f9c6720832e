//! ID tokens (`OpenID` Connect Core 1.0 §2 and §3.1.3.7).

use jsonwebtoken::{Algorithm, DecodingKey, Header, Validation, decode, decode_header};
use serde_json::{Map, Value};

use crate::{OidcError, error::one_line};

/// Longest token, in bytes.
const LONGEST: usize = 64 << 10;
/// Most groups that are looked at: some have hundreds.
const MOST_GROUPS: usize = 10_000;

/// Algorithms of public keys. `none` and those of shared secrets are not among them: whoever has the
/// provider's public key could sign.
const ALGORITHMS: [Algorithm; 9] = [
    Algorithm::RS256,
    Algorithm::RS384,
    Algorithm::RS512,
    Algorithm::PS256,
    Algorithm::PS384,
    Algorithm::PS512,
    Algorithm::ES256,
    Algorithm::ES384,
    Algorithm::EdDSA,
];

/// Somebody, by the word of the provider.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// What never changes of them.
    pub subject: String,
    /// What people call them.
    pub name: String,
    /// Their groups.
    pub groups: Vec<String>,
}

pub(crate) type Claims = Map<String, Value>;

/// Which key it is signed with.
pub(crate) fn header(token: &str) -> Result<Header, OidcError> {
    if token.len() > LONGEST {
        return Err(OidcError::refused(format!(
            "the token is longer than {LONGEST} bytes"
        )));
    }
    let header = decode_header(token).map_err(|_| OidcError::refused("this is no token"))?;
    if !ALGORITHMS.contains(&header.alg) {
        let algorithm = header.alg;
        return Err(OidcError::refused(format!(
            "tokens signed by {algorithm:?} are not taken"
        )));
    }
    Ok(header)
}

/// What a token says that the provider has signed for this client. With a nonce, it has to have that.
pub(crate) fn verify(
    token: &str,
    (key, header): (&DecodingKey, &Header),
    (issuer, client_id): (&str, &str),
    nonce: Option<&str>,
) -> Result<Claims, OidcError> {
    let mut validation = Validation::new(header.alg);
    validation.set_issuer(&[issuer]);
    validation.set_audience(&[client_id]);
    validation.set_required_spec_claims(&["iss", "aud", "exp", "sub"]);
    validation.validate_nbf = true;
    let decoded = decode::<Claims>(token, key, &validation);
    let claims = decoded
        .map_err(|error| {
            OidcError::refused(format!("the provider's token does not hold: {error}"))
        })?
        .claims;
    let text = |name: &str| claims.get(name).and_then(Value::as_str);
    if text("azp").is_some_and(|party| party != client_id) {
        return Err(OidcError::refused("the token was made for another program"));
    }
    if let Some(nonce) = nonce
        && text("nonce") != Some(nonce)
    {
        return Err(OidcError::refused("the token was made for another login"));
    }
    Ok(claims)
}

/// Who that is.
pub(crate) fn identity(claims: &Claims, groups_claim: &str) -> Result<Identity, OidcError> {
    let text = |name: &str| {
        claims
            .get(name)
            .and_then(Value::as_str)
            .filter(|text| !text.trim().is_empty())
    };
    let subject = text("sub").ok_or_else(|| OidcError::refused("the token names nobody"))?;
    let name = text("preferred_username")
        .or_else(|| text("email"))
        .unwrap_or(subject);
    Ok(Identity {
        subject: subject.to_owned(),
        name: one_line(name).chars().take(60).collect(),
        groups: groups(claims.get(groups_claim)),
    })
}

fn groups(claim: Option<&Value>) -> Vec<String> {
    let texts = match claim {
        Some(Value::String(one)) => return vec![one.clone()],
        Some(Value::Array(texts)) => texts.iter().take(MOST_GROUPS),
        _ => return Vec::new(),
    };
    texts.filter_map(Value::as_str).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn claims(value: &Value) -> Claims {
        value.as_object().unwrap().clone()
    }

    #[test]
    fn who_that_is() {
        let cases = [
            (
                json!({"sub": "7", "preferred_username": "ann", "email": "a@b", "groups": ["x", 3, "y"]}),
                "ann",
                vec!["x", "y"],
            ),
            (
                json!({"sub": "7", "preferred_username": " ", "email": "a@b", "groups": "x"}),
                "a@b",
                vec!["x"],
            ),
            (json!({"sub": "7\n8", "groups": {"x": 1}}), "7 8", vec![]),
        ];
        for (value, name, groups) in cases {
            let identity = identity(&claims(&value), "groups").unwrap();
            assert_eq!(
                (identity.name.as_str(), identity.groups),
                (name, groups.into_iter().map(str::to_owned).collect())
            );
        }
        identity(&claims(&json!({"sub": ""})), "groups").unwrap_err();
        let long = "x".repeat(1000);
        assert_eq!(
            identity(&claims(&json!({"sub": long})), "groups")
                .unwrap()
                .name
                .len(),
            60
        );
    }

    #[test]
    fn what_is_no_token() {
        // {"alg":"none"}, {"alg":"HS256"}
        for text in [
            "",
            ".",
            "..",
            "a.b.c",
            "eyJhbGciOiJub25lIn0.e30.",
            "eyJhbGciOiJIUzI1NiJ9.e30.AA",
        ] {
            assert!(
                matches!(header(text), Err(OidcError::Refused { .. })),
                "{text}"
            );
        }
        header(&"a".repeat(LONGEST + 1)).unwrap_err();
    }
}

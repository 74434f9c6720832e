//! Tokens of the API.

use http::Method;
use tresor_api_types::{MadeToken, NewToken, PageQuery, TokenView};
use tresor_model::TokenId;
use tresor_problem::Problem;

use crate::{Client, Pages, client::Call, encode::path};

impl Client {
    /// Tokens, oldest first, without their secrets.
    #[must_use]
    pub fn tokens(&self, asked: &PageQuery) -> Pages<TokenView> {
        Pages::new(self, &["tokens"], asked)
    }

    /// Makes a token. It is asked for once: its secret is kept nowhere, so that nobody could be given it again.
    ///
    /// # Errors
    /// `RequestMalformed`, and whatever keeps the service from answering.
    pub async fn make_token(&self, asked: &NewToken) -> Result<MadeToken, Problem> {
        self.read(Call::once(Method::POST, path(&["tokens"])).body(asked))
            .await
    }

    /// Revokes a token.
    ///
    /// # Errors
    /// `ObjectNotFound`, and whatever keeps the service from answering.
    pub async fn revoke_token(&self, token: TokenId) -> Result<TokenView, Problem> {
        let path = path(&["tokens", &token.to_string()]);
        self.read(Call::change(Method::DELETE, path)).await
    }
}

//! The OpenAPI document, made from the handlers.

use axum::Json;
use utoipa::{
    Modify, OpenApi,
    openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme},
};

use crate::{events, nouns};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Tresor",
        description = "VM backup for QEMU/KVM. How to authenticate, page and retry: docs/api/README.md.",
        version = "1",
    ),
    paths(
        nouns::vaults::list,
        nouns::hosts::list,
        nouns::datasources::list,
        nouns::items::list,
        nouns::items::show,
        nouns::items::protect,
        nouns::items::stop,
        nouns::items::resume,
        nouns::items::backup,
        nouns::policies::list,
        nouns::policies::show,
        nouns::policies::put,
        nouns::policies::remove,
        nouns::jobs::list,
        nouns::jobs::show,
        nouns::jobs::cancel,
        nouns::points::list,
        nouns::problems::list,
        nouns::problems::show,
        nouns::alerts::list,
        nouns::audit::list,
        nouns::tokens::list,
        nouns::tokens::create,
        nouns::tokens::revoke,
        nouns::status::show,
        events::follow,
        serve,
    ),
    security(("token" = [])),
    modifiers(&Token),
)]
struct Document;

struct Token;

impl Modify for Token {
    fn modify(&self, openapi: &mut utoipa::openapi::OpenApi) {
        let scheme = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build();
        let components = openapi.components.get_or_insert_default();
        components.add_security_scheme("token", SecurityScheme::Http(scheme));
    }
}

/// The document, as `docs/api/openapi.json` has it.
#[must_use]
pub fn document() -> utoipa::openapi::OpenApi {
    let mut document = Document::openapi();
    // The crate's licence is the code's, not the API's.
    document.info.license = None;
    document.info.contact = None;
    document
}

/// This document.
#[utoipa::path(get, path = "/api/v1/openapi.json", tag = "openapi", security(()), responses(
    (status = 200, description = "The OpenAPI document.", body = Object),
))]
pub(crate) async fn serve() -> Json<utoipa::openapi::OpenApi> {
    Json(document())
}

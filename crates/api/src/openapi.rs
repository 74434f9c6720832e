//! The OpenAPI document, made from the handlers.

use axum::Json;
use utoipa::{
    Modify, OpenApi,
    openapi::{
        ObjectBuilder, Required, Type,
        path::{Operation, Parameter, ParameterBuilder, ParameterIn, PathItem},
        security::{HttpAuthScheme, HttpBuilder, SecurityScheme},
    },
};

use crate::{ENDPOINTS, events, metrics, nouns};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Tresor",
        description = "VM backup for QEMU/KVM. How to authenticate, page and retry: docs/api/README.md.",
        version = "1",
    ),
    paths(
        nouns::vaults::list,
        nouns::vault_jobs::verify,
        nouns::vault_jobs::copy,
        nouns::vault_jobs::expire,
        nouns::vault_jobs::collect,
        nouns::hosts::list,
        nouns::hosts::token,
        nouns::hosts::revoke,
        nouns::hosts::remove,
        nouns::datasources::list,
        nouns::items::list,
        nouns::items::show,
        nouns::items::protect,
        nouns::items::stop,
        nouns::items::delete_data,
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
        nouns::restores::restore,
        nouns::problems::list,
        nouns::problems::show,
        nouns::alerts::list,
        nouns::audit::list,
        nouns::tokens::list,
        nouns::tokens::create,
        nouns::tokens::revoke,
        nouns::channels::list,
        nouns::channels::put,
        nouns::channels::remove,
        nouns::channels::test,
        nouns::status::show,
        metrics::show,
        events::follow,
        serve,
    ),
    security(("token" = [])),
    modifiers(&Token, &Names, &Keys),
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

/// Names that are unique: a handler's is so within its noun only.
struct Names;

impl Modify for Names {
    fn modify(&self, openapi: &mut utoipa::openapi::OpenApi) {
        for operation in openapi.paths.paths.values_mut().flat_map(operations) {
            let tag = operation.tags.iter().flatten().next().cloned();
            let name = operation.operation_id.take();
            operation.operation_id = tag.zip(name).map(|(tag, name)| format!("{tag}_{name}"));
        }
    }
}

/// The key of a request, with every change that takes one.
struct Keys;

impl Modify for Keys {
    fn modify(&self, openapi: &mut utoipa::openapi::OpenApi) {
        let changes = ENDPOINTS.iter().filter(|row| row.method != "GET");
        for row in changes.filter(|row| !row.secret) {
            let Some(item) = openapi.paths.paths.get_mut(row.path) else {
                continue;
            };
            let operation = match row.method {
                "PUT" => &mut item.put,
                "DELETE" => &mut item.delete,
                _ => &mut item.post,
            };
            if let Some(operation) = operation {
                operation
                    .parameters
                    .get_or_insert_default()
                    .push(key().into());
            }
        }
    }
}

/// Visible ASCII, as `idempotency` asks for.
const KEY_PATTERN: &str = "^[!-~]{1,200}$";

fn key() -> Parameter {
    let text = "Makes it safe to send the same request again: it gets the first one's answer.";
    ParameterBuilder::new()
        .name("Idempotency-Key")
        .parameter_in(ParameterIn::Header)
        .required(Required::False)
        .description(Some(text))
        .schema(Some(
            ObjectBuilder::new()
                .schema_type(Type::String)
                .pattern(Some(KEY_PATTERN)),
        ))
        .build()
}

fn operations(item: &mut PathItem) -> impl Iterator<Item = &mut Operation> {
    let all = [
        &mut item.get,
        &mut item.put,
        &mut item.post,
        &mut item.delete,
    ];
    all.into_iter().flatten()
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

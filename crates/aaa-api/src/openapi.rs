//! The HTTP API described in `OpenAPI` 3.1, made from the code that serves it.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use utoipa::openapi::schema::AdditionalProperties;
use utoipa::openapi::{
    ContentBuilder, HeaderBuilder, ObjectBuilder, Ref, RefOr, Response, ResponseBuilder, Schema,
    Type,
};
use utoipa::{IntoResponses, Modify, OpenApi};

use crate::error::{Cause, ErrorBody};
use crate::rest::{LoginRequest, LoginResponse, SignRequest, SignResponse};
use crate::server::rest;

/// The description, as JSON.
pub fn json() -> &'static str {
    static JSON: LazyLock<String> = LazyLock::new(|| {
        let mut json = Api::openapi().to_pretty_json().unwrap_or_default();
        json.push('\n');
        json
    });
    &JSON
}

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Choria AAA",
        version = "1",
        description = "Logs people in to a Choria network, and signs what they ask of it if they may.\n\n\
            A request that is understood is answered with 200, also when it is refused: `error` then says why. Any other \
            status is a request that was not understood or could not be worked on. All members of all answers are strings; \
            members without a value are left out.",
        license(name = "Apache-2.0", identifier = "Apache-2.0"),
    ),
    servers((url = "/")),
    paths(rest::login, rest::sign, rest::description),
    components(schemas(LoginRequest, LoginResponse, SignRequest, SignResponse, ErrorBody)),
    modifiers(&Strict),
)]
struct Api;

/// Requests may hold no other members than those described.
struct Strict;

impl Modify for Strict {
    fn modify(&self, openapi: &mut utoipa::openapi::OpenApi) {
        let Some(components) = &mut openapi.components else {
            return;
        };
        for name in ["LoginRequest", "SignRequest"] {
            if let Some(RefOr::T(Schema::Object(object))) = components.schemas.get_mut(name) {
                object.additional_properties =
                    Some(Box::new(AdditionalProperties::FreeForm(false)));
                // A member that is missing reads as empty.
                object.required.clear();
            }
        }
    }
}

/// What every call may answer instead of its own, from the table of errors.
pub(crate) struct Faults;

impl IntoResponses for Faults {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        Cause::ALL
            .into_iter()
            .filter(|cause| *cause != Cause::NotFound)
            .map(|cause| (cause.status().as_str().to_owned(), RefOr::T(fault(cause))))
            .collect()
    }
}

fn fault(cause: Cause) -> Response {
    let body = ContentBuilder::new()
        .schema(Some(Ref::from_schema_name("ErrorBody")))
        .build();
    let response = ResponseBuilder::new()
        .description(cause.message())
        .content("application/json", body);
    let header = |kind: Type, description: &str| {
        HeaderBuilder::new()
            .schema(Some(ObjectBuilder::new().schema_type(kind).build()))
            .description(Some(description))
            .build()
    };
    match cause {
        Cause::MethodNotAllowed => response
            .header(
                "Allow",
                header(Type::String, "The method that the path has."),
            )
            .build(),
        Cause::TooManyRequests | Cause::Busy => response
            .header(
                "Retry-After",
                header(
                    Type::Integer,
                    "Seconds after which a new attempt makes sense, if known.",
                ),
            )
            .build(),
        _ => response.build(),
    }
}

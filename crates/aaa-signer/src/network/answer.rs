//! From a call to the pipeline, and from its outcome to what a Choria client understands.

use aaa_api::error::{ApiError, Cause};
use aaa_api::handler::{Context, SignHandler, SignOutcome};
use aaa_api::rest::SignRequest;
use aaa_core::network::{Answer, Call};
use aaa_core::request::Body;
use serde_json::{Value, json};

/// The one action.
const SIGN: &str = "sign";

/// The status codes of an RPC reply.
const OK: u8 = 0;
const ABORTED: u8 = 1;
const UNKNOWN_ACTION: u8 = 2;
const MISSING_DATA: u8 = 3;
const INVALID_DATA: u8 = 4;
const OTHER: u8 = 5;

/// What clients of the reference see of a refusal, and what stands before a reason.
const DENIED: &str = "Request Denied";

/// Has a request signed, and says what came of it.
pub(super) async fn answer(signer: &dyn SignHandler, context: &Context, call: &Call) -> Answer {
    match inputs(call) {
        Ok(request) => match signer.sign(context, request).await {
            Ok(outcome) => answered(outcome),
            Err(error) => unanswered(&error),
        },
        Err(Wrong { code, error }) => {
            let said = error.detail().to_owned();
            let answered = signer.malformed(context, call.request.bytes(), error).await;
            if answered.cause() == Cause::Malformed {
                without(code, said)
            } else {
                unanswered(&answered)
            }
        }
    }
}

/// Inputs that are none.
struct Wrong {
    code: u8,
    error: ApiError,
}

fn inputs(call: &Call) -> Result<SignRequest, Wrong> {
    let wrong = |code, detail: String| Wrong {
        code,
        error: ApiError::malformed(detail),
    };
    let Body::Rpc { data, .. } = call.request.body() else {
        return Err(wrong(INVALID_DATA, "an RPC request is wanted".to_owned()));
    };
    if call.request.action() != SIGN {
        return Err(wrong(
            UNKNOWN_ACTION,
            "the action is unknown; there is: sign".to_owned(),
        ));
    }
    let text = |name: &str| match data.get(name) {
        Some(Value::String(text)) => Ok(text.as_str()),
        None | Some(Value::Null) => Ok(""),
        Some(_) => Err(wrong(INVALID_DATA, format!("{name} must be a text"))),
    };
    for name in ["request", "token"] {
        if text(name)?.is_empty() {
            return Err(wrong(MISSING_DATA, format!("{name} is missing")));
        }
    }
    SignRequest::from_texts(text("token")?, text("request")?, text("signature")?).map_err(|error| {
        Wrong {
            code: INVALID_DATA,
            error,
        }
    })
}

fn answered(outcome: SignOutcome) -> Answer {
    match outcome {
        SignOutcome::Signed(secure) => match String::from_utf8(secure) {
            Ok(secure) => Answer {
                code: OK,
                message: "OK".to_owned(),
                data: json!({"secure_request": secure}),
            },
            Err(_) => without(OTHER, "the signed request is no text".to_owned()),
        },
        // The stock client shows this line and nothing else.
        SignOutcome::Refused { detail, .. } if !detail.is_empty() => {
            without(ABORTED, format!("{DENIED}: {detail}"))
        }
        SignOutcome::Refused { .. } => without(ABORTED, DENIED.to_owned()),
    }
}

fn unanswered(error: &ApiError) -> Answer {
    let code = match error.cause() {
        Cause::Malformed => INVALID_DATA,
        _ => OTHER,
    };
    let (what, more) = (error.cause().message(), error.detail());
    without(code, format!("{what}: {more}"))
}

fn without(code: u8, message: String) -> Answer {
    Answer {
        code,
        message,
        data: json!({"secure_request": ""}),
    }
}

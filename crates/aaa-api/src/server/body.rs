//! Reads the body of a request: so long, so much, and no further.

use std::time::Duration;

use axum::body::Body;
use bytes::{Bytes, BytesMut};
use http::{HeaderMap, header};
use http_body_util::BodyExt as _;
use hyper::body::Body as _;

use crate::error::{ApiError, Cause};
use crate::rest::BODY_LIMIT;

/// How much of a body that is too large is read and thrown away, so that a client which writes it all before it reads hears
/// the answer instead of a broken connection.
const DISCARD_LIMIT: usize = 4 * BODY_LIMIT;

/// The body of a request that declares itself JSON, or does not declare itself.
pub(super) async fn read(
    headers: &HeaderMap,
    mut body: Body,
    deadline: Duration,
) -> Result<Bytes, ApiError> {
    let declared = is_json(headers);
    let reading = async {
        let oversize = body.size_hint().lower() > BODY_LIMIT as u64;
        if oversize && headers.contains_key(header::EXPECT) {
            // The client waits for leave to send it, and is told no.
            return Err(ApiError::too_large());
        }
        let read = if oversize {
            Err(ApiError::too_large())
        } else {
            collect(&mut body).await
        };
        if read.is_err() || declared.is_err() {
            discard(&mut body).await;
        }
        declared.and(read)
    };
    match tokio::time::timeout(deadline, reading).await {
        Ok(read) => read,
        Err(_) => Err(ApiError::timeout()),
    }
}

/// The whole body, without a copy if it came in one piece.
async fn collect(body: &mut Body) -> Result<Bytes, ApiError> {
    let mut first = Bytes::new();
    let mut all = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(cut_off)?.into_data() else {
            continue;
        };
        if first.len() + all.len() + data.len() > BODY_LIMIT {
            return Err(ApiError::too_large());
        }
        if first.is_empty() && all.is_empty() {
            first = data;
            continue;
        }
        if all.is_empty() {
            all.extend_from_slice(&first);
            first.clear();
        }
        all.extend_from_slice(&data);
    }
    Ok(if all.is_empty() { first } else { all.freeze() })
}

async fn discard(body: &mut Body) {
    let mut left = DISCARD_LIMIT;
    while let Some(Ok(frame)) = body.frame().await {
        let size = frame.data_ref().map_or(0, Bytes::len);
        match left.checked_sub(size) {
            Some(rest) => left = rest,
            None => return,
        }
    }
}

fn cut_off(error: axum::Error) -> ApiError {
    ApiError::malformed("the request ended before its body was complete").with_source(error)
}

/// Whether the body may be JSON by its headers. Those that say nothing may: `curl -d @file` with an emptied content type does
/// so, and nothing but JSON will parse.
fn is_json(headers: &HeaderMap) -> Result<(), ApiError> {
    let encoded = headers
        .get(header::CONTENT_ENCODING)
        .is_some_and(|encoding| !encoding.as_bytes().eq_ignore_ascii_case(b"identity"));
    if encoded {
        return Err(ApiError::new(
            Cause::UnsupportedMediaType,
            "send the body without content encoding",
        ));
    }
    let json = headers.get(header::CONTENT_TYPE).is_none_or(|kind| {
        let essence = kind
            .as_bytes()
            .split(|b| *b == b';')
            .next()
            .unwrap_or_default();
        essence.is_empty()
            || essence
                .to_ascii_lowercase()
                .windows(4)
                .any(|part| part == b"json")
    });
    if json {
        return Ok(());
    }
    Err(ApiError::new(
        Cause::UnsupportedMediaType,
        "send JSON, with Content-Type: application/json",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_or_nothing_said_is_taken() {
        let with = |name: http::HeaderName, value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(name, value.parse().unwrap());
            is_json(&headers).is_ok()
        };
        assert!(is_json(&HeaderMap::new()).is_ok());
        for kind in [
            "application/json",
            "Application/JSON; charset=utf-8",
            "text/json",
            "application/vnd.choria+json",
            "",
        ] {
            assert!(with(header::CONTENT_TYPE, kind), "{kind}");
        }
        for kind in [
            "text/plain",
            "application/x-www-form-urlencoded",
            "text/plain; a=json",
        ] {
            assert!(!with(header::CONTENT_TYPE, kind), "{kind}");
        }
        assert!(with(header::CONTENT_ENCODING, "Identity"));
        assert!(!with(header::CONTENT_ENCODING, "gzip"));
    }
}

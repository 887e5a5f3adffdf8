//! What went wrong, as `application/problem+json` (RFC 9457) with a `code` that stays what it is.

use std::{borrow::Cow, time::Duration};

use hyper::{Response, StatusCode, header};
use serde::Serialize;

use super::{body::Body, framing::Refusal};
use crate::{
    chat::Denied,
    event::{Refused, TextRefused},
    log::{LogError, LogErrorKind},
};

/// One refusal: what the client is told. What the log is told is said where it is handled.
#[derive(Clone, Debug)]
pub(crate) struct Problem {
    status: StatusCode,
    code: &'static str,
    detail: Cow<'static, str>,
    extra: Option<(header::HeaderName, Cow<'static, str>)>,
}

impl Problem {
    pub(crate) fn new(status: StatusCode, code: &'static str, detail: impl Into<Cow<'static, str>>) -> Self {
        Problem { status, code, detail: detail.into(), extra: None }
    }

    pub(crate) fn bad_request(detail: impl Into<Cow<'static, str>>) -> Self {
        Problem::new(StatusCode::BAD_REQUEST, "bad_request", detail)
    }

    pub(crate) fn unauthenticated(detail: &'static str) -> Self {
        Problem {
            extra: Some((header::WWW_AUTHENTICATE, "Bearer realm=\"maru\"".into())),
            ..Problem::new(StatusCode::UNAUTHORIZED, "unauthenticated", detail)
        }
    }

    pub(crate) fn forbidden(detail: impl Into<Cow<'static, str>>) -> Self {
        Problem::new(StatusCode::FORBIDDEN, "forbidden", detail)
    }

    /// `until`: in seconds since 1970.
    pub(crate) fn banned(until: i64) -> Self {
        let until = until.saturating_mul(1000);
        Problem::forbidden(format!("you are shut out of this room until {until} (ms since 1970)"))
    }

    pub(crate) fn not_found() -> Self {
        Problem::new(StatusCode::NOT_FOUND, "not_found", "there is nothing here, or nothing for you")
    }

    pub(crate) fn method_not_allowed(allow: String) -> Self {
        let detail = format!("this resource knows {allow}");
        Problem {
            extra: Some((header::ALLOW, allow.into())),
            ..Problem::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", detail)
        }
    }

    pub(crate) fn too_large(detail: impl Into<Cow<'static, str>>) -> Self {
        Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", detail)
    }

    pub(crate) fn rate_limited(denied: Denied) -> Self {
        Problem::new(StatusCode::TOO_MANY_REQUESTS, "rate_limited", "too much at once; wait a little")
            .retry_after(denied.retry_after)
    }

    pub(crate) fn overloaded() -> Self {
        Problem::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "overloaded",
            "too much is waiting; nothing was accepted",
        )
        .retry_after(Duration::from_secs(1))
    }

    fn retry_after(mut self, wait: Duration) -> Self {
        let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
        self.extra = Some((header::RETRY_AFTER, seconds.max(1).to_string().into()));
        self
    }

    /// Stable, for programs.
    pub(crate) fn code(&self) -> &'static str {
        self.code
    }

    pub(crate) fn status(&self) -> StatusCode {
        self.status
    }

    /// Will the same request be taken later, without anything being changed about it?
    pub(crate) fn passes(&self) -> bool {
        self.status == StatusCode::TOO_MANY_REQUESTS || self.status.is_server_error()
    }

    /// The document alone.
    pub(crate) fn document(&self) -> Vec<u8> {
        #[derive(Serialize)]
        struct Document<'a> {
            r#type: &'static str,
            title: &'a str,
            status: u16,
            code: &'a str,
            detail: &'a str,
        }
        let title = self.status.canonical_reason().unwrap_or("Error");
        let document = Document {
            r#type: "about:blank",
            title,
            status: self.status.as_u16(),
            code: self.code,
            detail: &self.detail,
        };
        serde_json::to_vec(&document).expect("a problem is plain data")
    }

    pub(crate) fn into_response(self) -> Response<Body> {
        let mut response = Response::new(Body::full(self.document()));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, header::HeaderValue::from_static("application/problem+json"));
        headers.insert(header::CACHE_CONTROL, header::HeaderValue::from_static("no-store"));
        if let Some((name, value)) = self.extra {
            headers.insert(name, value.parse().expect("a header value of our own"));
        }
        response
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        let status = StatusCode::from_u16(refusal.status).unwrap_or(StatusCode::BAD_REQUEST);
        Problem::new(status, refusal.code, refusal.detail)
    }
}

impl From<Refused> for Problem {
    fn from(refused: Refused) -> Self {
        Problem::bad_request(refused.0)
    }
}

impl From<TextRefused> for Problem {
    fn from(refused: TextRefused) -> Self {
        match refused {
            TextRefused::Empty => Problem::bad_request("there is no text"),
            TextRefused::TooLong => Problem::too_large("the text is too long"),
        }
    }
}

impl From<LogError> for Problem {
    fn from(e: LogError) -> Self {
        match e.kind {
            LogErrorKind::NotFound => Problem::not_found(),
            LogErrorKind::NotYours => {
                Problem::new(StatusCode::FORBIDDEN, "forbidden", "this is somebody else's message")
            }
            LogErrorKind::NoChange => Problem::bad_request("it is so already"),
            LogErrorKind::Crowded => Problem::new(
                StatusCode::FORBIDDEN,
                "forbidden",
                "the room has as many members as there may be",
            ),
            LogErrorKind::KeyReused => Problem::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                "idempotency_key_reused",
                "this client_id stands for another text",
            ),
            LogErrorKind::Overloaded => Problem::overloaded(),
            LogErrorKind::Unavailable => {
                if !e.is_told {
                    tracing::error!(error = %e, "the store did not do what it was asked");
                }
                Problem::new(
                    StatusCode::SERVICE_UNAVAILABLE,
                    "store_unavailable",
                    "the store cannot be reached; ask again with the same client_id",
                )
                .retry_after(Duration::from_secs(2))
            }
            LogErrorKind::OutcomeUnknown => Problem::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "outcome_unknown",
                "it may have been said, or not: ask again with the same client_id",
            )
            .retry_after(Duration::from_secs(1)),
        }
    }
}

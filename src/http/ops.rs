//! For those who run it.

use hyper::{Response, StatusCode};

use super::{Stage, answer::with_type, body::Body, call::Call, ok};

/// The API as an OpenAPI 3.1 document, which a test holds against the route table.
const OPENAPI: &str = include_str!("openapi.json");

/// Alive: whoever answers at all.
pub(super) fn healthz() -> Response<Body> {
    with_type(StatusCode::OK, "text/plain; charset=utf-8", Body::full("ok\n"))
}

/// Ready to take traffic.
pub(super) fn readyz(call: &Call) -> Response<Body> {
    match *call.app.stage.borrow() {
        Stage::Serving => with_type(StatusCode::OK, "text/plain; charset=utf-8", Body::full("ready\n")),
        Stage::Unready | Stage::Draining => with_type(
            StatusCode::SERVICE_UNAVAILABLE,
            "text/plain; charset=utf-8",
            Body::full("going away\n"),
        ),
    }
}

/// Prometheus text.
pub(super) async fn metrics(call: &Call) -> Response<Body> {
    let text = call.app.metrics.text(&call.app.chat).await;
    with_type(StatusCode::OK, "application/openmetrics-text; version=1.0.0; charset=utf-8", Body::full(text))
}

/// The API.
pub(super) fn openapi() -> Response<Body> {
    let mut response = ok(Body::full(OPENAPI));
    let json = hyper::header::HeaderValue::from_static("application/json");
    response.headers_mut().insert(hyper::header::CONTENT_TYPE, json);
    response
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::Value;

    use super::OPENAPI;
    use crate::http::route::TABLE;

    #[test]
    fn the_document_and_the_table_know_the_same_routes() {
        let document: Value = serde_json::from_str(OPENAPI).unwrap();
        let mut documented = BTreeSet::new();
        for (path, operations) in document["paths"].as_object().unwrap() {
            for method in operations.as_object().unwrap().keys().filter(|key| *key != "parameters") {
                documented.insert((method.to_uppercase(), path.clone()));
            }
        }
        let known: BTreeSet<_> =
            TABLE.iter().map(|(method, path, _)| (method.to_string(), (*path).to_owned())).collect();
        assert_eq!(documented, known);
    }
}

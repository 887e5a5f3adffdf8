//! Whose pages may do what: the origin of a request, and CORS (WHATWG Fetch §3.3).

use hyper::{
    HeaderMap, Method, Response, StatusCode,
    header::{self, HeaderValue},
};

use super::{answer, body::Body, route};

/// Does a request come from a page of this site, from one that is configured, or from a program, which sends
/// neither `Origin` nor `Sec-Fetch-Site`?
pub(super) fn is_own(headers: &HeaderMap, origins: &[String]) -> bool {
    if let Some(origin) = headers.get(header::ORIGIN) {
        let Ok(origin) = origin.to_str() else { return false };
        return is_configured(origin, origins) || is_host(origin, headers);
    }
    match headers.get("sec-fetch-site") {
        None => true,
        Some(site) => site == "same-origin" || site == "none",
    }
}

/// Adds what lets a configured site's page read the answer.
pub(super) fn allow(request: &HeaderMap, origins: &[String], response: &mut HeaderMap) {
    if origins.is_empty() {
        return;
    }
    response.append(header::VARY, HeaderValue::from_static("Origin"));
    let Some(origin) = request.get(header::ORIGIN) else { return };
    if origin.to_str().is_ok_and(|origin| is_configured(origin, origins)) {
        response.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
        response.insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
        response.insert(
            header::ACCESS_CONTROL_EXPOSE_HEADERS,
            HeaderValue::from_static("Retry-After, X-Request-Id"),
        );
    }
}

/// The answer to OPTIONS: what may be done here and, to configured sites, that their pages may do it.
pub(super) fn preflight(methods: &[Method]) -> Response<Body> {
    let mut response = answer::with_type(StatusCode::NO_CONTENT, "text/plain", Body::empty());
    let headers = response.headers_mut();
    headers.remove(header::CONTENT_TYPE);
    let allowed: HeaderValue = route::allow(methods).parse().expect("methods are ASCII");
    headers.insert(header::ALLOW, allowed.clone());
    headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, allowed);
    headers.insert(
        header::ACCESS_CONTROL_ALLOW_HEADERS,
        HeaderValue::from_static("Authorization, Content-Type, Idempotency-Key, Last-Event-ID"),
    );
    headers.insert(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("600"));
    response
}

fn is_configured(origin: &str, origins: &[String]) -> bool {
    origins.iter().any(|known| known.eq_ignore_ascii_case(origin))
}

/// Is this the origin of the host that was asked? The scheme does not count: TLS may end at a proxy.
fn is_host(origin: &str, headers: &HeaderMap) -> bool {
    let Some(host) = headers.get(header::HOST).and_then(|host| host.to_str().ok()) else { return false };
    let of_origin = origin.split_once("://").map(|(_, host)| host);
    of_origin.is_some_and(|of_origin| of_origin.eq_ignore_ascii_case(host))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.parse().unwrap(), HeaderValue::from_static(value))).collect()
    }

    #[test]
    fn a_page_of_this_site_and_a_program_pass() {
        for own in [
            &[("host", "chat.example:8080"), ("origin", "http://chat.example:8080")][..],
            &[("host", "chat.example"), ("origin", "https://CHAT.example")],
            &[("host", "chat.example"), ("sec-fetch-site", "same-origin")],
            &[("host", "chat.example"), ("sec-fetch-site", "none")],
            &[("host", "chat.example")],
            &[("host", "chat.example"), ("origin", "https://blog.example"), ("sec-fetch-site", "cross-site")],
        ] {
            assert!(is_own(&headers(own), &["https://blog.example".into()]), "{own:?}");
        }
    }

    #[test]
    fn a_page_of_another_site_does_not() {
        for foreign in [
            &[("host", "chat.example"), ("origin", "null")][..],
            &[("host", "chat.example"), ("origin", "https://evil.example")],
            &[("host", "chat.example"), ("origin", "https://chat.example.evil.example")],
            &[("host", "chat.example"), ("origin", "https://evilblog.example")],
            &[("host", "chat.example:8080"), ("origin", "http://chat.example:8081")],
            &[("host", "chat.example"), ("sec-fetch-site", "cross-site")],
            &[("host", "chat.example"), ("sec-fetch-site", "same-site")],
            &[
                ("host", "chat.example"),
                ("origin", "https://evil.example"),
                ("sec-fetch-site", "same-origin"),
            ],
        ] {
            assert!(!is_own(&headers(foreign), &["https://blog.example".into()]), "{foreign:?}");
        }
    }

    #[test]
    fn only_configured_origins_are_answered_and_exactly() {
        let origins = ["https://blog.example".to_owned()];
        let mut response = HeaderMap::new();
        allow(&headers(&[("origin", "https://blog.example")]), &origins, &mut response);
        assert_eq!(response[header::ACCESS_CONTROL_ALLOW_ORIGIN], "https://blog.example");
        let mut response = HeaderMap::new();
        allow(&headers(&[("origin", "https://evil.example")]), &origins, &mut response);
        assert!(!response.contains_key(header::ACCESS_CONTROL_ALLOW_ORIGIN));
        assert_eq!(response[header::VARY], "Origin");
    }
}

//! Texts that are sent as they are, or compressed to whoever takes that.

use std::{io::Write, sync::OnceLock};

use bytes::Bytes;
use flate2::{Compression, write::GzEncoder};
use hyper::{
    HeaderMap, Response, StatusCode,
    header::{self, HeaderValue},
};

use crate::http::{answer::with_type, body::Body};

/// A text, and the same as gzip (RFC 1952) from when it is first asked for.
pub(super) struct Packed {
    plain: Bytes,
    gzip: OnceLock<Bytes>,
}

impl Packed {
    pub(super) fn new(plain: impl Into<Bytes>) -> Self {
        Packed { plain: plain.into(), gzip: OnceLock::new() }
    }

    /// 200, compressed if the client takes it so and it is shorter so.
    pub(super) fn answer(&self, kind: &'static str, request: &HeaderMap) -> Response<Body> {
        let bytes = if takes_gzip(request) { self.shorter() } else { &self.plain };
        let is_packed = bytes.len() < self.plain.len();
        let mut response = with_type(StatusCode::OK, kind, Body::full(bytes.clone()));
        let headers = response.headers_mut();
        headers.insert(header::VARY, HeaderValue::from_static("Accept-Encoding"));
        if is_packed {
            headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        }
        response
    }

    fn shorter(&self) -> &Bytes {
        let gzip = self.gzip.get_or_init(|| pack(&self.plain));
        if gzip.len() < self.plain.len() { gzip } else { &self.plain }
    }
}

fn pack(plain: &[u8]) -> Bytes {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(plain).and_then(|()| encoder.finish()).expect("memory takes all that is written").into()
}

/// Does the client take gzip, and like it as well as the plain text (RFC 9110 §12.5.3)?
fn takes_gzip(request: &HeaderMap) -> bool {
    let fields = request.get_all(header::ACCEPT_ENCODING).iter().filter_map(|field| field.to_str().ok());
    let codings: Vec<_> = fields.flat_map(|field| field.split(',')).map(weighed).collect();
    let weight = |name: &str| {
        codings.iter().find(|(coding, _)| coding.eq_ignore_ascii_case(name)).map(|(_, weight)| *weight)
    };
    let gzip = weight("gzip").or_else(|| weight("x-gzip")).or_else(|| weight("*")).unwrap_or(0.0);
    gzip > 0.0 && gzip >= weight("identity").unwrap_or(0.0)
}

/// A coding and its weight: 1 unless it is said, 0 if that cannot be read.
fn weighed(coding: &str) -> (&str, f32) {
    let mut parts = coding.split(';').map(str::trim);
    let name = parts.next().unwrap_or_default();
    let weight = parts.find_map(|part| part.strip_prefix("q=").or_else(|| part.strip_prefix("Q=")));
    (name, weight.map_or(1.0, |weight| weight.parse().unwrap_or(0.0)))
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use flate2::read::GzDecoder;

    use super::*;

    fn accepting(fields: &[&'static str]) -> HeaderMap {
        fields.iter().map(|field| (header::ACCEPT_ENCODING, HeaderValue::from_static(field))).collect()
    }

    #[test]
    fn gzip_is_for_those_who_take_it() {
        for fields in [
            &["gzip"][..],
            &["gzip, deflate, br, zstd"],
            &["br;q=1.0, GZIP;q=0.8, *;q=0.1"],
            &["x-gzip"],
            &["*"],
            &["deflate", "gzip ; q=0.001"],
            &["gzip;q=0.5, identity;q=0.5"],
            &["identity;q=0, *"],
        ] {
            assert!(takes_gzip(&accepting(fields)), "{fields:?}");
        }
        for fields in [
            &[][..],
            &[""],
            &["identity"],
            &["br, deflate"],
            &["gzip;q=0"],
            &["gzip;q=0.000, *"],
            &["*;q=0"],
            &["gzip;q=0.5, identity"],
            &["gzip;q=much"],
            &["gzip;q=nan"],
            &["gzipped"],
        ] {
            assert!(!takes_gzip(&accepting(fields)), "{fields:?}");
        }
    }

    #[test]
    fn what_is_packed_is_the_same_text_and_shorter() {
        let text = "an open floor ".repeat(100);
        let packed = Packed::new(text.clone());
        let mut unpacked = String::new();
        GzDecoder::new(&packed.shorter()[..]).read_to_string(&mut unpacked).unwrap();
        assert_eq!(unpacked, text);
        let answer = packed.answer("text/plain", &accepting(&["gzip"]));
        assert_eq!(answer.headers()[header::CONTENT_ENCODING], "gzip");
        assert_eq!(answer.headers()[header::VARY], "Accept-Encoding");
    }

    #[test]
    fn what_would_grow_stays_as_it_is() {
        let answer = Packed::new("short").answer("text/plain", &accepting(&["gzip"]));
        assert!(!answer.headers().contains_key(header::CONTENT_ENCODING));
        assert_eq!(answer.headers()[header::VARY], "Accept-Encoding");
    }
}

//! The one reading of a JSON body.

/// What an object says; or what is wrong with the body, for its sender.
pub(super) fn object<T: serde::de::DeserializeOwned>(body: &[u8]) -> Result<T, String> {
    // An array would pass for the fields in their order.
    if !body.trim_ascii_start().starts_with(b"{") {
        return Err("the body is to be a JSON object".into());
    }
    serde_json::from_slice(body).map_err(|e| format!("the body is not the JSON expected: {e}"))
}

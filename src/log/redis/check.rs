//! What is checked of the server at the start.

use redis::{Value, from_redis_value};

use super::link::Wire;

/// The oldest that has all that is used here.
const LEAST: u32 = 7;

/// Sentences about what puts promises at risk. What may not be asked for is not complained of.
pub(super) async fn warnings(wire: &mut Wire) -> Vec<String> {
    let mut warnings = Vec::new();
    if is_old(&wire.version) {
        warnings.push(format!("version {} is older than {LEAST}", wire.version));
    }
    if setting(wire, "appendonly").await.is_some_and(|value| value != "yes") {
        warnings.push(
            "appendonly is not yes: when it restarts, what MySQL does not have yet must come back from the pods".into(),
        );
    }
    if setting(wire, "maxmemory-policy").await.is_some_and(|value| value != "noeviction") {
        warnings.push("maxmemory-policy is not noeviction: it may throw messages away".into());
    }
    warnings
}

/// Is this version (`INFO server`, `redis_version`) too old?
pub(crate) fn is_old(version: &str) -> bool {
    let major = version.split('.').next().and_then(|major| major.parse::<u32>().ok());
    major.is_none_or(|major| major < LEAST)
}

async fn setting(wire: &mut Wire, name: &str) -> Option<String> {
    let mut config = redis::pipe();
    config.cmd("CONFIG").arg("GET").arg(name);
    let mut answers: Vec<Value> = wire.ask(&config).await.ok()?;
    from_redis_value::<std::collections::HashMap<String, String>>(answers.pop()?).ok()?.remove(name)
}

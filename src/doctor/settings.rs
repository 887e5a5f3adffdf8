//! What is wrong with the settings, and what is only unwise.

use std::collections::HashSet;

use super::report::Report;
use crate::{
    config::{Config, Store, Switch},
    log::Ack,
    tls::Certificates,
};

const ABOUT: &str = "settings";
/// A secret that is shorter, in bytes, may be guessed by whoever has a token and much time.
const LONG: usize = 32;
/// A secret with fewer different bytes is a word, or somebody's knuckles.
const VARIED: usize = 10;
/// What stands in examples.
const EXAMPLES: [&str; 4] = ["at-least-16-bytes-the-same-for-all", "changeme", "change-me", "example"];

pub(super) fn examine(config: &Config, report: &mut Report) {
    match config.check() {
        Ok(()) => report.ok(ABOUT, what_it_is(config)),
        Err(e) => report.fail(ABOUT, e),
    }
    if let Ok(Some((chain, key))) = config.certificates() {
        match Certificates::read(chain.to_owned(), key.to_owned()) {
            Ok(_) => report.ok(ABOUT, format!("HTTPS, with the certificate of {}", chain.display())),
            Err(e) => report.fail(ABOUT, e.to_string()),
        }
    }
    for warning in smells(config) {
        report.warn(ABOUT, warning);
    }
}

fn what_it_is(config: &Config) -> String {
    let listen = config.listen;
    match config.store() {
        Ok(Store::Pods { nats, ack, .. }) => format!(
            "one of many pods, at {listen}: Redis orders, MySQL keeps{}; answers say {}",
            if nats.is_some() { ", NATS carries" } else { "" },
            if ack == Ack::Stored { "stored" } else { "buffered" },
        ),
        _ => format!("one process, at {listen}, with SQLite"),
    }
}

fn smells(config: &Config) -> Vec<String> {
    let mut smells = Vec::new();
    let mut smell = |is_there: bool, text: String| {
        if is_there {
            smells.push(text);
        }
    };
    let is_public = !config.listen.ip().is_loopback();
    smell(
        is_public && config.trusted_proxies.is_empty() && config.tls_cert.is_none(),
        "--listen is not the loopback, and neither --tls-cert nor a --trusted-proxy is named: whoever comes directly speaks \
         without TLS, and behind a proxy all people have one address. Name a certificate, or the proxy in front"
            .into(),
    );
    smell(
        config.trusted_proxies.iter().any(|network| network.prefix_len() == 0),
        "--trusted-proxy names every address there is: anybody chooses their own address. Name the proxies alone".into(),
    );
    for (setting, secret) in named_secrets(config) {
        let wrong = if secret.len() < LONG {
            format!("shorter than {LONG} bytes")
        } else if secret.bytes().collect::<HashSet<_>>().len() < VARIED || is_example(secret) {
            "easily guessed".to_owned()
        } else {
            continue;
        };
        smell(true, format!("{setting} is {wrong}: take one of `openssl rand -hex 32`"));
    }
    smell(
        config.secret.len() > 2,
        "--secret has more than two: who has an old one can still sign. Drop those of which no token is left, after 30 days"
            .into(),
    );
    smell(
        config.jwt_secret.as_ref().is_some_and(|jwt| config.secret.contains(jwt)),
        "--jwt-secret is --secret too: then the site can sign whatever maru can. Give each its own".into(),
    );
    smell(
        config.rate_limit == Switch::Off,
        "--rate-limit is off: one person can fill every room and every stream. It is for load tests".into(),
    );
    for origin in config.origins.iter().filter(|origin| is_plain(origin)) {
        smell(
            true,
            format!(
                "--origin {origin} is without TLS: whoever is on the way can be that page. Make it https://"
            ),
        );
    }
    smells
}

fn named_secrets(config: &Config) -> impl Iterator<Item = (&'static str, &str)> {
    let ours = config.secret.iter().map(|secret| ("--secret", &**secret));
    let jwt = config.jwt_secret.as_deref().filter(|secret| !secret.is_empty());
    ours.chain(jwt.map(|secret| ("--jwt-secret", secret)))
        .chain(config.admin_token().map(|token| ("--admin-token", token)))
}

fn is_example(secret: &str) -> bool {
    let secret = secret.to_ascii_lowercase();
    EXAMPLES.iter().any(|example| secret.contains(example))
}

/// Without TLS, and not on the same machine.
fn is_plain(origin: &str) -> bool {
    let host =
        origin.strip_prefix("http://").map(|host| host.rsplit_once(':').map_or(host, |(host, _)| host));
    host.is_some_and(|host| !["localhost", "127.0.0.1", "[::1]"].contains(&host))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    fn smells_of(args: &[&str]) -> Vec<String> {
        smells(&Config::try_parse_from([&["maru"], args].concat()).unwrap())
    }

    #[test]
    fn what_is_wise_smells_of_nothing() {
        let secret = "9f0c1e6b7a2d4358c6e1f0a9b8d7e6f5";
        let args = [
            "--listen",
            "0.0.0.0:8080",
            "--trusted-proxy",
            "10.0.0.0/8",
            "--secret",
            secret,
            "--origin",
            "https://blog.example,http://localhost:3000",
        ];
        assert_eq!(smells_of(&[]), Vec::<String>::new());
        assert_eq!(smells_of(&args), Vec::<String>::new());
    }

    #[test]
    fn what_is_unwise_is_said_with_what_to_do() {
        for (args, word) in [
            (&["--listen", "0.0.0.0:80"][..], "--listen"),
            (&["--trusted-proxy", "0.0.0.0/0"], "--trusted-proxy"),
            (&["--secret", "sixteen bytes or so"], "--secret is shorter"),
            (&["--secret", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"], "--secret is easily"),
            (&["--secret", "at-least-16-bytes-the-same-for-all"], "--secret is easily"),
            (&["--admin-token", "sixteen bytes or so"], "--admin-token is shorter"),
            (&["--rate-limit", "off"], "--rate-limit"),
            (&["--origin", "http://blog.example:8080"], "--origin http://blog.example:8080"),
        ] {
            let smells = smells_of(args);
            assert!(smells.len() == 1 && smells[0].contains(word), "{args:?}: {smells:?}");
            let is_secret = ["--secret", "--admin-token"].contains(&args[0]);
            assert!(!is_secret || !smells[0].contains(args[1]), "{smells:?}");
        }
    }
}

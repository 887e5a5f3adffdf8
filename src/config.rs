//! Every setting, parsed once: flag, environment variable and default, in that order of strength.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    str::FromStr,
    time::Duration,
};

use clap::{Parser, ValueEnum};
use ipnet::IpNet;

use crate::{
    event::Lang,
    identity::{
        LEAST_ADMIN_TOKEN, LEAST_SECRET,
        outside::{Outside, RESERVED_AUDIENCES},
    },
    log::Ack,
};

mod limits;
mod secret;

pub use limits::{LimitName, Limits};

use limits::limit;

/// Every setting.
#[derive(Debug, Parser)]
#[command(name = "maru", version, max_term_width = 100)]
pub struct Config {
    /// Address and port to listen on; port 0 takes a free one
    #[arg(long, env = "MARU_LISTEN", default_value = "127.0.0.1:8080", value_name = "ADDRESS")]
    pub listen: SocketAddr,

    /// File with the certificate (PEM, with its chain) to speak HTTPS with, HTTP/2 and HTTP/1.1; with --tls-key. Both are
    /// read again when they change
    #[arg(long, env = "MARU_TLS_CERT", value_name = "FILE")]
    pub tls_cert: Option<PathBuf>,

    /// File with the private key (PEM) of --tls-cert
    #[arg(long, env = "MARU_TLS_KEY", value_name = "FILE")]
    pub tls_key: Option<PathBuf>,

    /// Speak HTTP/2 without TLS too, with clients that begin with it (h2c by prior knowledge), as some proxies do
    #[arg(long, env = "MARU_H2C", default_value = "off", value_name = "on|off")]
    pub h2c: Switch,

    /// Directory for the messages (SQLite), and for the secret if none is given
    #[arg(long, env = "MARU_DATA", default_value = "./maru-data", value_name = "DIR")]
    pub data: PathBuf,

    /// Redis that orders and buffers the messages of many pods, such as redis://user:password@host:6379, or
    /// rediss:// for TLS with a certificate that the system trusts, or SSL_CERT_FILE names; with --mysql
    #[arg(long, env = "MARU_REDIS_URL", hide_env_values = true, value_name = "URL")]
    pub redis: Option<String>,

    /// NATS that carries messages between pods in place of Redis, such as nats://host:4222, or tls:// for TLS; with
    /// --redis and --mysql
    #[arg(long, env = "MARU_NATS_URL", hide_env_values = true, value_name = "URL")]
    pub nats: Option<String>,

    /// MySQL that keeps the messages of many pods, such as mysql://user:password@host:3306/maru, with
    /// ?require_ssl=true for TLS; with --redis
    #[arg(long, env = "MARU_MYSQL_URL", hide_env_values = true, value_name = "URL")]
    pub mysql: Option<String>,

    /// How safe a message is before it is answered for and shown: buffered (in Redis and in the pod's memory) or
    /// stored (on disk, in SQLite or MySQL); stored alone, and buffered with Redis
    #[arg(long, env = "MARU_ACK", value_name = "buffered|stored")]
    pub ack: Option<Ack>,

    /// Key that sessions are signed with, at least 16 bytes; two, comma-separated, to rotate: the first signs,
    /// both are accepted. Needed with Redis; alone, one is made and kept in the data directory
    #[arg(long, env = "MARU_SECRET", hide_env_values = true, value_delimiter = ',', value_name = "SECRET")]
    pub secret: Vec<String>,

    /// Secret of at least 32 bytes that the site that embeds maru signs with (JWT, HS256) who its people are
    #[arg(long, env = "MARU_JWT_SECRET", hide_env_values = true, value_name = "SECRET")]
    pub jwt_secret: Option<String>,

    /// File with the public key of the site that embeds maru, in place of --jwt-secret: RSA for RS256, P-256 for ES256,
    /// Ed25519 for EdDSA, in PEM; or with several of them, as a JWK Set (RFC 7517). It is read again when it changes
    #[arg(long, env = "MARU_JWT_KEY", value_name = "FILE")]
    pub jwt_key: Option<PathBuf>,

    /// What the site's tokens say that they are for (aud)
    #[arg(long, env = "MARU_JWT_AUDIENCE", default_value = "maru", value_name = "NAME")]
    pub jwt_audience: String,

    /// Token of at least 16 bytes with which an operator moderates: Authorization: Bearer TOKEN
    #[arg(long, env = "MARU_ADMIN_TOKEN", hide_env_values = true, value_name = "TOKEN")]
    pub admin_token: Option<String>,

    /// Other sites whose pages may use this server from a browser, and have rooms on them, comma-separated,
    /// such as https://blog.example
    #[arg(long = "origin", env = "MARU_ORIGINS", value_delimiter = ',', value_name = "ORIGIN", value_parser = origin)]
    pub origins: Vec<String>,

    /// Addresses or networks of proxies whose X-Forwarded-For is believed, comma-separated
    #[arg(long = "trusted-proxy", env = "MARU_TRUSTED_PROXIES", value_delimiter = ',', value_name = "NETWORK", value_parser = network)]
    pub trusted_proxies: Vec<IpNet>,

    /// On SIGTERM, send readers off within this time
    #[arg(long, env = "MARU_DRAIN", default_value = "30s", value_name = "TIME", value_parser = duration)]
    pub drain: Duration,

    /// Language of what the server itself says
    #[arg(long, env = "MARU_LANG", default_value = "en", value_name = "LANG")]
    pub lang: Lang,

    /// How long messages are kept, such as 30d or 12h; for ever if not given
    #[arg(long, env = "MARU_KEEP", value_name = "TIME", value_parser = duration)]
    pub keep: Option<Duration>,

    /// Form and level of the log on standard error: text or json, then a level, such as json,debug
    #[arg(long, env = "MARU_LOG", default_value = "text,info", value_name = "FORM,LEVEL")]
    pub log: LogStyle,

    /// Limits of rate and of streams for each person and address; off for load tests
    #[arg(long, env = "MARU_RATE_LIMIT", default_value = "on", value_name = "on|off")]
    pub rate_limit: Switch,

    /// Change a limit: NAME=NUMBER, comma-separated. Names and defaults: text=4096 and body=16384 (bytes),
    /// head=16384 and uri=4096 (bytes), fields=64, head-time=10 and body-time=10 (s), history=1000 (events),
    /// person-streams=30, person-messages=5 (a second), person-burst=20, address-streams=1000,
    /// address-messages=50 and address-guests=10 (a second), person-searches=5 and address-searches=50 (a second),
    /// person-rooms=20 (a minute), person-marks=10 (a second), typing-every=2 (s)
    #[arg(long = "limit", env = "MARU_LIMITS", value_delimiter = ',', value_name = "NAME=NUMBER", value_parser = limit)]
    pub limits: Vec<(LimitName, u32)>,

    /// After a backup was put back into the data directory, or into MySQL: begin a new epoch in every room, so that no
    /// place in a log is given twice, and exit. No maru may run
    #[arg(long)]
    pub new_epoch: bool,
}

impl Config {
    /// The limits of section 8 of the contract, with the changes asked for.
    pub fn limits(&self) -> Limits {
        let mut limits = Limits::default();
        for (name, value) in &self.limits {
            limits.set(*name, *value);
        }
        limits
    }

    /// What is wrong with the settings that parsing them would have had to print.
    ///
    /// # Errors
    /// With a sentence that does not tell a secret.
    pub fn check(&self) -> Result<(), String> {
        if !self.secret.iter().all(|secret| secret.len() >= LEAST_SECRET) {
            return Err(format!("--secret: a secret has at least {LEAST_SECRET} bytes"));
        }
        if self.admin_token().is_some_and(|token| token.len() < LEAST_ADMIN_TOKEN) {
            return Err(format!("--admin-token: a token has at least {LEAST_ADMIN_TOKEN} bytes"));
        }
        self.outside()?;
        if self.h2c == Switch::On && self.certificates()?.is_some() {
            return Err(
                "--h2c is HTTP/2 without TLS, and --tls-cert is given: within TLS HTTP/2 is spoken anyhow"
                    .into(),
            );
        }
        self.store().map(|_| ())
    }

    /// The files of the certificate and of its key, if HTTPS is spoken.
    ///
    /// # Errors
    /// When one is given without the other.
    pub fn certificates(&self) -> Result<Option<(&Path, &Path)>, String> {
        let given = |file: &Path| !file.as_os_str().is_empty();
        let [chain, key] =
            [&self.tls_cert, &self.tls_key].map(|file| file.as_deref().filter(|file| given(file)));
        match (chain, key) {
            (Some(chain), Some(key)) => Ok(Some((chain, key))),
            (None, None) => Ok(None),
            (Some(_), None) => Err("--tls-cert needs --tls-key (MARU_TLS_KEY) beside it".into()),
            (None, Some(_)) => Err("--tls-key needs --tls-cert (MARU_TLS_CERT) beside it".into()),
        }
    }

    /// The operator's token, if there is one.
    pub fn admin_token(&self) -> Option<&str> {
        self.admin_token.as_deref().filter(|token| !token.is_empty())
    }

    /// Who reads the tokens of the site that embeds maru, if one does.
    ///
    /// # Errors
    /// With a sentence that says what is wrong with its key.
    pub fn outside(&self) -> Result<Option<Outside>, String> {
        let secret = self.jwt_secret.as_deref().filter(|secret| !secret.is_empty());
        let key = self.jwt_key.as_deref().filter(|key| !key.as_os_str().is_empty());
        let audience = &*self.jwt_audience;
        if audience.is_empty() || RESERVED_AUDIENCES.contains(&audience) {
            return Err(format!(
                "--jwt-audience: {audience:?} is not a name that a site's tokens can be for"
            ));
        }
        let (setting, outside) = match (secret, key) {
            (None, None) => return Ok(None),
            (Some(_), Some(_)) => {
                return Err(
                    "--jwt-secret and --jwt-key are two ways to know a site's tokens: give one".into()
                );
            }
            (Some(secret), None) => ("--jwt-secret", Outside::by_secret(secret.as_bytes(), audience)),
            (None, Some(path)) => {
                let keys = std::fs::read(path)
                    .map_err(|e| format!("--jwt-key: cannot read {}: {e}", path.display()))?;
                ("--jwt-key", Outside::by_keys(&keys, audience))
            }
        };
        outside.map(Some).map_err(|e| format!("{setting}: {e}"))
    }

    /// Where the log is kept.
    ///
    /// # Errors
    /// With a sentence that says what is missing.
    pub fn store(&self) -> Result<Store<'_>, String> {
        let given = |url: &Option<String>| url.as_ref().is_some_and(|url| !url.is_empty());
        match (given(&self.redis), given(&self.mysql)) {
            (true, true) => {}
            (true, false) => {
                return Err(
                    "--redis needs --mysql (MARU_MYSQL_URL) beside it: Redis buffers, MySQL keeps".into()
                );
            }
            (false, true) => {
                return Err(
                    "--mysql needs --redis (MARU_REDIS_URL) beside it: MySQL keeps, Redis orders".into()
                );
            }
            (false, false) if given(&self.nats) => {
                return Err(
                    "--nats needs --redis and --mysql (MARU_REDIS_URL, MARU_MYSQL_URL) beside it: NATS only \
                            carries"
                        .into(),
                );
            }
            (false, false) if self.ack == Some(Ack::Buffered) => {
                return Err(
                    "--ack buffered needs --redis: alone, every message is stored before it is answered for"
                        .into(),
                );
            }
            (false, false) => return Ok(Store::Alone),
        }
        if self.secret.is_empty() {
            return Err(
                "--secret (MARU_SECRET) is needed with Redis: the pods have to know each other's sessions"
                    .into(),
            );
        }
        Ok(Store::Pods {
            redis: self.redis.as_deref().unwrap_or_default(),
            mysql: self.mysql.as_deref().unwrap_or_default(),
            nats: self.nats.as_deref().filter(|nats| !nats.is_empty()),
            ack: self.ack.unwrap_or(Ack::Buffered),
        })
    }
}

/// Where the log is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Store<'a> {
    /// In SQLite, by this process alone.
    Alone,
    /// In Redis and MySQL, which this pod shares with others.
    Pods {
        /// Orders and buffers.
        redis: &'a str,
        /// Keeps.
        mysql: &'a str,
        /// Carries, in place of Redis.
        nats: Option<&'a str>,
        /// What an event has before it is answered for and shown.
        ack: Ack,
    },
}

/// On or off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Switch {
    /// On.
    On,
    /// Off.
    Off,
}

/// How the log is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogStyle {
    /// One JSON object a line, for machines.
    pub json: bool,
    /// `error`, `warn`, `info`, `debug` or `trace`.
    pub level: tracing::Level,
}

impl FromStr for LogStyle {
    type Err = String;

    fn from_str(s: &str) -> Result<Self, String> {
        let mut style = LogStyle { json: false, level: tracing::Level::INFO };
        for word in s.split(',').map(str::trim) {
            match word {
                "text" => style.json = false,
                "json" => style.json = true,
                level => {
                    style.level = level.parse().map_err(|_| {
                        format!(
                            "{level:?} is neither text, json nor a level (error, warn, info, debug, trace)"
                        )
                    })?;
                }
            }
        }
        Ok(style)
    }
}

/// An origin as browsers write it (RFC 6454 §6.2): scheme, host and, unless it is the scheme's own, port.
fn origin(s: &str) -> Result<String, String> {
    let host = s.strip_prefix("https://").or_else(|| s.strip_prefix("http://"));
    // It becomes a part of headers too, where other characters would mean something.
    let is_host = |host: &str| {
        !host.is_empty() && host.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._:[]".contains(&b))
    };
    match host {
        Some(host) if is_host(host) => Ok(s.to_ascii_lowercase()),
        _ => {
            Err("an origin is a scheme and a host, such as https://blog.example, and nothing behind it"
                .into())
        }
    }
}

fn network(s: &str) -> Result<IpNet, String> {
    s.parse::<IpNet>()
        .or_else(|_| s.parse::<std::net::IpAddr>().map(IpNet::from))
        .map_err(|_| "neither an address nor a network such as 10.0.0.0/8".into())
}

/// A number and a unit: ms, s, m, h or d.
pub(crate) fn duration(s: &str) -> Result<Duration, String> {
    const WRONG: &str = "a time is a number and a unit: ms, s, m, h or d, such as 30s";
    let digits = s.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = s.split_at(digits);
    let number: u64 = number.parse().map_err(|_| WRONG)?;
    let ms = match unit {
        "ms" => 1,
        "s" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return Err(WRONG.into()),
    };
    number.checked_mul(ms).map(Duration::from_millis).ok_or_else(|| "that is too long".into())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn parse(args: &[&str]) -> Result<Config, clap::Error> {
        Config::try_parse_from([&["maru"], args].concat())
    }

    #[test]
    fn the_command_line_is_well_formed() {
        Config::command().debug_assert();
    }

    #[test]
    fn times_have_units() {
        assert_eq!(duration("30s"), Ok(Duration::from_secs(30)));
        assert_eq!(duration("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(duration("2d"), Ok(Duration::from_secs(172_800)));
        for wrong in
            ["", "30", "s", "1.5s", "-1s", "30 s", "30S", "99999999999999999999s", "18446744073709551615d"]
        {
            assert!(duration(wrong).is_err(), "{wrong:?} was taken");
        }
    }

    #[test]
    fn limits_can_be_changed_one_by_one() {
        let config = parse(&["--limit", "person-messages=7,text=100"]).unwrap();
        let expected = Limits { person_messages: 7, text: 100, ..Limits::default() };
        assert_eq!(config.limits(), expected);
        for wrong in ["text", "text=", "text=0", "text=-1", "texts=1", "text=99999999"] {
            assert!(parse(&["--limit", wrong]).is_err(), "{wrong:?} was taken");
        }
    }

    #[test]
    fn what_is_no_setting_is_refused() {
        let wrong: [&[&str]; 8] = [
            &["--listen", "localhost"],
            &["--origin", "*"],
            &["--origin", "https://a.example/"],
            &["--origin", "https://a.example;script-src"],
            &["--origin", "https://마루.example"],
            &["--trusted-proxy", "proxy"],
            &["--log", "loud"],
            &["--lang", "fr"],
        ];
        for args in wrong {
            assert!(parse(args).is_err(), "{args:?} was taken");
        }
    }

    #[test]
    fn what_stands_on_nothing_is_refused_with_what_is_missing() {
        let secret = ["--secret", "0123456789abcdef"];
        let store = |args: &[&str]| parse(&[args, &secret].concat()).unwrap().check();
        let (redis, mysql, nats) =
            (["--redis", "redis://r"], ["--mysql", "mysql://m/d"], ["--nats", "nats://n"]);
        assert!(store(&redis).is_err_and(|said| said.contains("--mysql")));
        assert!(store(&mysql).is_err_and(|said| said.contains("--redis")));
        assert!(store(&nats).is_err_and(|said| said.contains("--redis") && said.contains("--mysql")));
        assert!(store(&[nats, redis].concat()).is_err_and(|said| said.contains("--mysql")));
        assert!(store(&["--ack", "buffered"]).is_err_and(|said| said.contains("--redis")));
        assert_eq!(store(&[redis, mysql].concat()), Ok(()));
        assert_eq!(store(&[redis, mysql, nats].concat()), Ok(()));
        let without = parse(&[redis, mysql].concat()).unwrap().check();
        assert!(without.is_err_and(|said| said.contains("--secret")));
    }

    #[test]
    fn secrets_rotate() {
        let config = parse(&["--secret", "0123456789abcdef,fedcba9876543210"]).unwrap();
        assert_eq!((config.secret.len(), config.check()), (2, Ok(())));
        let short = parse(&["--secret", "0123456789abcdef,short"]).unwrap();
        assert!(short.check().is_err_and(|said| !said.contains("=short") && !said.contains("0123")));
    }
}

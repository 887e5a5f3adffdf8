//! What was found, as lines for people or as one object for machines.

use std::{
    io::{self, Write},
    process::ExitCode,
};

use percent_encoding::percent_decode_str;
use serde::Serialize;

use crate::config::Config;

/// How it is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    Text,
    Json,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum State {
    Ok,
    /// It works, and is not as it should be.
    Warn,
    /// It does not work, or what was promised does not hold.
    Fail,
}

#[derive(Serialize)]
struct Finding {
    about: &'static str,
    state: State,
    text: String,
}

/// Everything found so far.
pub(super) struct Report {
    form: Form,
    findings: Vec<Finding>,
    hidden: Vec<String>,
}

#[derive(Serialize)]
struct Whole<'a> {
    findings: &'a [Finding],
    ok: usize,
    warn: usize,
    fail: usize,
}

/// What is shorter stands in texts by chance.
const SHORTEST_SECRET: usize = 4;

impl Report {
    pub(super) fn new(form: Form, config: &Config) -> Self {
        Report { form, findings: Vec::new(), hidden: secrets(config) }
    }

    pub(super) fn ok(&mut self, about: &'static str, text: impl Into<String>) {
        self.add(about, State::Ok, text.into());
    }

    pub(super) fn warn(&mut self, about: &'static str, text: impl Into<String>) {
        self.add(about, State::Warn, text.into());
    }

    pub(super) fn fail(&mut self, about: &'static str, text: impl Into<String>) {
        self.add(about, State::Fail, text.into());
    }

    /// Text is told at once: some of what is looked at takes its time.
    fn add(&mut self, about: &'static str, state: State, text: String) {
        // Errors of others may quote what they were given, and answers of servers may hold anything.
        let text = self.hidden.iter().fold(text, |text, hidden| text.replace(hidden, "…"));
        let text: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        if self.form == Form::Text {
            let word = match state {
                State::Ok => "ok",
                State::Warn => "warn",
                State::Fail => "fail",
            };
            tell(&format!("{word:<4}  {about:<8}  {text}"));
        }
        self.findings.push(Finding { about, state, text });
    }

    /// The sum.
    pub(super) fn end(self) -> ExitCode {
        let count = |state| self.findings.iter().filter(|finding| finding.state == state).count();
        let (ok, warn, fail) = (count(State::Ok), count(State::Warn), count(State::Fail));
        match self.form {
            Form::Text => tell(&format!("{ok} ok, {warn} to look at, {fail} failed")),
            Form::Json => {
                let whole = Whole { findings: &self.findings, ok, warn, fail };
                tell(&serde_json::to_string(&whole).expect("findings are plain data"));
            }
        }
        if fail == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }
}

fn tell(line: &str) {
    // Whoever does not read on does not want to know.
    _ = writeln!(io::stdout().lock(), "{line}");
}

/// Everything in the settings that nobody else may read.
fn secrets(config: &Config) -> Vec<String> {
    let urls = [&config.redis, &config.mysql, &config.nats];
    let in_urls = urls.into_iter().flatten().flat_map(|url| words(url));
    let others = [&config.jwt_secret, &config.admin_token].into_iter().flatten().cloned();
    let mut all: Vec<_> = config.secret.iter().cloned().chain(others).chain(in_urls).collect();
    all.retain(|secret| secret.len() >= SHORTEST_SECRET);
    // The longer first: one may be a part of another.
    all.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
    all
}

/// The password in a URL, or the token in place of a name, as written and as meant.
fn words(url: &str) -> Vec<String> {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let Some((login, _)) = rest.rsplit_once('@') else { return Vec::new() };
    let word = login.split_once(':').map_or(login, |(_, word)| word);
    vec![word.to_owned(), percent_decode_str(word).decode_utf8_lossy().into_owned()]
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[test]
    fn no_secret_is_told() {
        let secrets = ["one secret of ours", "the operator's one", "a%2Fb%2Fc", "a/b/c", "a-token-of-nats"];
        let config = Config::try_parse_from([
            "maru",
            "--secret",
            secrets[0],
            "--admin-token",
            secrets[1],
            "--redis",
            "redis://me:a%2Fb%2Fc@r:6379",
            "--nats",
            "nats://a-token-of-nats@n:4222",
            "--mysql",
            "mysql://m/d",
        ]);
        let mut report = Report::new(Form::Json, &config.unwrap());
        report.fail("x", format!("it said {}\r\n", secrets.join(" and ")));
        let told = &report.findings[0].text;
        assert!(secrets.iter().all(|secret| !told.contains(secret)), "{told}");
        assert_eq!(told, "it said … and … and … and … and …  ");
    }
}

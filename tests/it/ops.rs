//! For those who run it: start, settings, figures, logs.

use std::collections::{BTreeSet, HashMap, HashSet};

use loadtest::http::Request;
use serde_json::{Value, json};

use crate::harness::{Pod, assert_problem, deadline, run};

#[test]
fn it_says_that_it_is_alive_and_ready() {
    let pod = Pod::start();
    for target in ["/healthz", "/readyz", "/healthz/"] {
        let answer = pod.client().get(target).unwrap();
        assert_eq!(
            (answer.status, answer.headers.get("content-type")),
            (200, Some("text/plain; charset=utf-8"))
        );
    }
    let api = pod.client().get("/openapi.json").unwrap();
    assert_eq!((api.status, api.headers.get("content-type")), (200, Some("application/json")));
    assert!(api.json()["openapi"].as_str().unwrap().starts_with("3."));
}

#[test]
fn the_greeting_tells_where_it_listens_and_how_many_it_can_take() {
    let pod = Pod::start();
    let greeting = pod.greeting.join("\n");
    let address = pod.address();
    for said in [
        format!("http://{address}"),
        format!("http://{address}/r/lobby"),
        format!("curl -N {address}/r/lobby"),
        format!("curl -d hello {address}/r/lobby"),
        pod.data().display().to_string(),
        "ulimit -n".to_owned(),
    ] {
        assert!(greeting.contains(&said), "no {said:?} in {greeting}");
    }
    let most =
        greeting.lines().find_map(|line| line.split_once(" streams at once")?.0.split(' ').next_back());
    assert!(most.unwrap().parse::<u32>().unwrap() > 0);
}

#[test]
fn the_metrics_are_well_formed_and_count() {
    let pod = Pod::start();
    let _stream = pod.listen_live("/r/lobby");
    let body = json!({"text": "hi", "client_id": "k"});
    let (token, _) = pod.sign_in("Ann");
    for _ in 0..3 {
        pod.client_as(&token).post_json("/r/lobby", &body).unwrap();
    }
    pod.client().get("/r/lobby?history=1&since=7-7&poll=1").unwrap();
    pod.client().send(&Request::new("GET", "/healthz").header("Host", "a b")).unwrap();
    assert_eq!((pod.metric("maru_messages_total"), pod.metric("maru_duplicates_total")), (1.0, 2.0));
    assert_eq!((pod.metric("maru_streams"), pod.metric("maru_gaps_total")), (1.0, 1.0));
    assert_eq!(pod.metric("maru_refused_heads_total"), 1.0);
    assert_eq!(pod.metric(r#"maru_http_answers_total{method="POST",status="200"}"#), 2.0);

    let answer = pod.client().get("/metrics").unwrap();
    assert!(answer.headers.get("content-type").unwrap().starts_with("application/openmetrics-text"));
    let text = answer.text();
    let mut lines: Vec<_> = text.lines().collect();
    assert_eq!(lines.pop(), Some("# EOF"));
    let (mut kinds, mut helped, mut samples) = (HashMap::new(), HashSet::new(), HashSet::new());
    for line in lines {
        let words: Vec<_> = line.splitn(4, ' ').collect();
        match words[..] {
            ["#", "HELP", name, _] => assert!(helped.insert(name.to_owned()), "{line}"),
            ["#", "TYPE", name, kind] => {
                assert!(matches!(kind, "counter" | "gauge" | "histogram"), "{line}");
                assert!(kinds.insert(name.to_owned(), kind.to_owned()).is_none(), "{line}");
            }
            _ => {
                let (sample, value) = line.rsplit_once(' ').unwrap();
                assert!(value.parse::<f64>().unwrap().is_finite(), "{line}");
                assert!(samples.insert(sample.to_owned()), "{sample} is there twice");
                let name = sample.split('{').next().unwrap();
                let family = match name.strip_suffix("_total") {
                    Some(family) if kinds.get(family).is_some_and(|kind| kind == "counter") => family,
                    _ => name,
                };
                let kind = kinds.get(family).unwrap_or_else(|| panic!("{line} has no type"));
                assert!(helped.contains(family) && family.starts_with("maru_"), "{line}");
                assert_eq!(kind == "counter", name.ends_with("_total"), "{line}");
            }
        }
    }
}

#[test]
fn help_tells_of_every_setting_that_there_is() {
    let output = run(&["--help"], &[]);
    assert!(output.status.success());
    let help = String::from_utf8(output.stdout).unwrap();
    let flags: BTreeSet<_> = help
        .lines()
        .filter_map(|line| {
            let line = line.trim_start();
            let line = line.strip_prefix("-h, ").or(line.strip_prefix("-V, ")).unwrap_or(line);
            line.strip_prefix("--")?.split([' ', '=', '.']).next()
        })
        .collect();
    let settings = [
        ("listen", "MARU_LISTEN", "127.0.0.1:8080"),
        ("data", "MARU_DATA", "./maru-data"),
        ("secret", "MARU_SECRET", ""),
        ("origin", "MARU_ORIGINS", ""),
        ("trusted-proxy", "MARU_TRUSTED_PROXIES", ""),
        ("drain", "MARU_DRAIN", "30s"),
        ("lang", "MARU_LANG", "en"),
        ("keep", "MARU_KEEP", ""),
        ("log", "MARU_LOG", "text,info"),
        ("rate-limit", "MARU_RATE_LIMIT", "on"),
        ("limit", "MARU_LIMITS", ""),
    ];
    let mut expected: BTreeSet<_> = settings.iter().map(|(flag, ..)| *flag).collect();
    expected.extend(["new-epoch", "help", "version"]);
    assert_eq!(flags, expected);
    for (flag, variable, default) in settings {
        assert!(help.contains(&format!("[env: {variable}")), "no {variable} for --{flag}");
        assert!(
            default.is_empty() || help.contains(&format!("[default: {default}]")),
            "no default of --{flag}"
        );
    }
    for limit in [
        "text=4096",
        "body=16384",
        "head=16384",
        "uri=4096",
        "fields=64",
        "head-time=10",
        "body-time=10",
        "history=1000",
        "person-streams=30",
        "person-messages=5",
        "person-burst=20",
        "address-streams=1000",
        "address-messages=50",
        "address-guests=10",
    ] {
        // It may be broken over two lines.
        assert!(help.split_whitespace().any(|word| word.trim_end_matches(',') == limit), "no {limit}");
    }
    assert!(run(&["--version"], &[]).status.success());
}

#[test]
fn what_is_not_built_or_not_understood_is_refused_with_a_sentence() {
    let data = tempfile::TempDir::new().unwrap();
    let data = data.path().join("maru-data");
    let given = |more: &[&str], envs: &[(&str, &str)]| {
        let args = [&["--listen", "127.0.0.1:0", "--data", data.to_str().unwrap()], more].concat();
        let output = run(&args, envs);
        assert!(!output.status.success(), "{more:?} {envs:?} was taken");
        assert!(output.stdout.is_empty(), "{more:?} {envs:?} greets");
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(!said.trim().is_empty() && !said.contains("panick"), "{more:?} {envs:?}: {said}");
        said
    };
    let redis = "redis://127.0.0.1:6379";
    for flag in ["--redis", "--nats", "--mysql", "--ack", "--admin-token"] {
        assert!(given(&[flag, redis], &[]).contains(flag));
    }
    for variable in ["MARU_REDIS_URL", "MARU_NATS_URL", "MARU_MYSQL_URL"] {
        assert!(given(&[], &[(variable, redis)]).contains(variable));
    }
    for (flag, wrong) in [
        ("--drain", "30"),
        ("--lang", "fr"),
        ("--keep", "0"),
        ("--log", "loud"),
        ("--origin", "*"),
        ("--secret", "short"),
        ("--rate-limit", "maybe"),
        ("--trusted-proxy", "x"),
    ] {
        assert!(given(&[flag, wrong], &[]).contains(flag), "{flag}");
    }
    assert!(given(&[], &[("MARU_DRAIN", "soon")]).contains("--drain"));
    assert!(!given(&[], &[("MARU_SECRET", "tell-nobody")]).contains("tell-nobody"));
    assert!(!data.exists(), "it made a data directory");
}

#[test]
fn a_flag_is_stronger_than_a_variable_and_that_than_the_default() {
    let name = |pod: &Pod| {
        let session = pod.client().send(&Request::new("POST", "/api/session")).unwrap().json();
        session["user"]["name"].as_str().unwrap().is_ascii()
    };
    assert!(name(&Pod::with(&[])));
    assert!(!name(&Pod::with_envs(&[], &[("MARU_LANG", "ko")])));
    assert!(name(&Pod::with_envs(&["--lang", "en"], &[("MARU_LANG", "ko")])));
    let limits =
        [("MARU_LIMITS", "text=5,history=7"), ("MARU_RATE_LIMIT", "off"), ("MARU_LISTEN", "127.0.0.1:1")];
    let pod = Pod::with_envs(&[], &limits);
    assert_problem(&pod.say("lobby", "123456"), 413, "too_large");
    for _ in 0..15 {
        assert_eq!(pod.say("lobby", "12345").status, 201);
    }
    assert_problem(&pod.client().get("/r/lobby?history=8").unwrap(), 400, "bad_request");
}

#[test]
fn the_log_has_no_texts_and_no_tokens() {
    for style in ["json,debug", "text,debug", "json,trace"] {
        let secret = "the-very-secret-of-this-pod";
        let mut pod = Pod::with(&[
            "--log",
            style,
            "--drain",
            "0s",
            "--secret",
            secret,
            "--rate-limit",
            "off",
            "--keep",
            "1s",
        ]);
        let (token, _) = pod.sign_in("Ann");
        let mut ann = pod.client_as(&token);
        let cookie = format!("maru_session={token}");
        let ticket = ann.post_json("/api/session/ticket", &json!({"path": "/r/lobby"})).unwrap().json();
        let ticket = ticket["ticket"].as_str().unwrap();
        ann.post("/r/lobby", "text/plain", "nobodys-business").unwrap();
        ann.post_json("/r/lobby", &json!({"text": "nobodys-business", "client_id": "k"})).unwrap();
        ann.post("/r/lobby", "application/json", "{\"text\":\"nobodys-business\"").unwrap();
        ann.post("/r/lobby", "application/json", "{\"nobodys-business\":7}").unwrap();
        ann.post("/r/lobby", "text/plain", format!("nobodys-business{}", "x".repeat(5000))).unwrap();
        ann.send(&Request::new("PATCH", "/api/chat/lobby/messages/1").body("nobodys-business 2")).unwrap();
        ann.send(&Request::new("DELETE", "/api/chat/lobby/messages/1")).unwrap();
        pod.client().header("Cookie", &cookie).get("/api/session").unwrap();
        pod.client_as(&format!("{token}x")).get("/api/session").unwrap();
        pod.client().get(&format!("/r/lobby?poll=1&ticket={ticket}")).unwrap();
        pod.client().get(&format!("/r/attic?poll=1&ticket={ticket}")).unwrap();
        pod.client()
            .send(&Request::new("GET", "/healthz").header("Host", "a b").header("Cookie", &cookie))
            .unwrap();
        let mut stream = pod.listen_live(&format!("/r/lobby?ticket={ticket}"));
        ann.send(&Request::new("DELETE", "/api/session").header("X-Forwarded-For", "198.51.100.7")).unwrap();
        stream.wait_for("bye", deadline()).unwrap();
        drop(stream);
        pod.tell_to_end();
        assert!(pod.ended().success());
        let log = pod.log();
        assert!(log.lines().count() >= 2, "{log}");
        for hidden in [
            &token[..],
            ticket,
            token.rsplit('.').next().unwrap(),
            ticket.rsplit('.').next().unwrap(),
            "nobodys-business",
            secret,
        ] {
            assert!(!log.contains(hidden), "{hidden} is in the log: {log}");
        }
        for line in log.lines() {
            if style.starts_with("json") {
                let entry: Value = serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"));
                assert!(entry["level"].is_string() && entry["timestamp"].is_string(), "{line}");
            } else {
                assert!(!line.contains('\u{1b}'), "colours in a pipe: {line}");
            }
        }
    }
}

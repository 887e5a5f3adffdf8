//! Settings as they are asked for and refused, before anything is opened; the secret that nobody gave; a fault of
//! SQLite's writer.

use std::collections::BTreeSet;

use loadtest::checker::Promise;

use crate::{
    faults::finds,
    harness::{Maru, run},
};

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
        ("tls-cert", "MARU_TLS_CERT", ""),
        ("tls-key", "MARU_TLS_KEY", ""),
        ("h2c", "MARU_H2C", "off"),
        ("data", "MARU_DATA", "./maru-data"),
        ("redis", "MARU_REDIS_URL", ""),
        ("nats", "MARU_NATS_URL", ""),
        ("mysql", "MARU_MYSQL_URL", ""),
        ("ack", "MARU_ACK", ""),
        ("secret", "MARU_SECRET", ""),
        ("jwt-secret", "MARU_JWT_SECRET", ""),
        ("jwt-key", "MARU_JWT_KEY", ""),
        ("jwt-audience", "MARU_JWT_AUDIENCE", "maru"),
        ("admin-token", "MARU_ADMIN_TOKEN", ""),
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
    // Names where nobody is: nothing may be asked of them before all is said.
    let [redis, nats, mysql] =
        ["redis://nowhere.invalid", "nats://nowhere.invalid", "mysql://nowhere.invalid/x"];
    for (given_flags, missing) in [
        (&["--redis", redis][..], "--mysql"),
        (&["--mysql", mysql], "--redis"),
        (&["--nats", nats], "--redis"),
        (&["--nats", nats, "--redis", redis], "--mysql"),
        (&["--ack", "buffered"], "--redis"),
        (&["--redis", redis, "--mysql", mysql], "--secret"),
        (&["--redis", redis, "--mysql", mysql, "--nats", nats], "--secret"),
        (&["--ack", "sometimes"], "--ack"),
        (&["--admin-token", "x"], "--admin-token"),
    ] {
        let said = given(given_flags, &[]);
        assert!(said.contains(missing), "{given_flags:?}: {said}");
    }
    for (variable, url, missing) in [
        ("MARU_REDIS_URL", redis, "MARU_MYSQL_URL"),
        ("MARU_MYSQL_URL", mysql, "MARU_REDIS_URL"),
        ("MARU_NATS_URL", nats, "MARU_REDIS_URL"),
    ] {
        let said = given(&[], &[(variable, url)]);
        assert!(said.contains(missing) && said.lines().count() == 1, "{variable}: {said}");
    }
    let both = [("MARU_REDIS_URL", redis), ("MARU_MYSQL_URL", mysql)];
    assert!(given(&[], &both).contains("MARU_SECRET"));
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
fn a_limit_that_is_none_is_refused_at_start() {
    for wrong in ["text=0", "text=", "text", "texts=1", "text=-1", "text=65537", "fields=1000"] {
        let output = run(&["--listen", "127.0.0.1:0", "--limit", wrong], &[]);
        assert!(!output.status.success(), "{wrong} was taken");
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(said.contains("--limit"), "{said}");
    }
}

#[test]
fn without_a_secret_the_pod_keeps_one_to_itself() {
    use std::os::unix::fs::PermissionsExt;

    let mut maru = Maru::start();
    let (token, _) = maru.sign_in("Ann");
    let mode = |path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(maru.one_pod().data().join("secret")), 0o600);
    maru.kill();
    maru.restart();
    assert_eq!(maru.client_as(&token).get("/api/session").unwrap().status, 200);
}

#[test]
fn answering_before_the_commit_is_found() {
    let found = finds("AnswerBeforeCommit", 2);
    assert!(found.contains(&Promise::P2), "{found:?}");
}

//! For those who run it: start, settings, figures, logs, retention, and a backup that was put back.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    path::Path,
};

use loadtest::{
    http::Request,
    stream::{Listen, Next, Stream},
};
use serde_json::{Value, json};

use crate::harness::{Pod, assert_problem, deadline, run, wait_for};

fn parsed(data: &str) -> Value {
    serde_json::from_str(data).unwrap()
}

/// The events of the log and the gaps that a stream gives until it is live.
fn replayed(mut stream: Stream) -> Vec<(String, String)> {
    let mut seen = Vec::new();
    loop {
        match stream.next_event(deadline()).unwrap() {
            Next::Event(event) if event.name == "live" => return seen,
            Next::Event(event) if event.name != "hello" => seen.push((event.name, event.id.unwrap_or_default())),
            Next::Event(_) => {}
            other => panic!("{other:?} after {seen:?}"),
        }
    }
}

fn after(pod: &Pod, room: &str, cursor: &str) -> Vec<(String, String)> {
    replayed(Listen::to(&format!("/r/{room}")).after(cursor).open(pod.address()).unwrap())
}

fn messages(cursors: &[&str]) -> Vec<(String, String)> {
    cursors.iter().map(|cursor| ("message".to_owned(), (*cursor).to_owned())).collect()
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

#[test]
fn it_says_that_it_is_alive_and_ready() {
    let pod = Pod::start();
    for target in ["/healthz", "/readyz", "/healthz/"] {
        let answer = pod.client().get(target).unwrap();
        assert_eq!((answer.status, answer.headers.get("content-type")), (200, Some("text/plain; charset=utf-8")));
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
    let most = greeting.lines().find_map(|line| line.split_once(" streams at once")?.0.split(' ').next_back());
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
            Some(line.strip_prefix("--")?.split([' ', '=', '.']).next()?)
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
        assert!(default.is_empty() || help.contains(&format!("[default: {default}]")), "no default of --{flag}");
    }
    for limit in ["text=4096", "body=16384", "head=16384", "uri=4096", "fields=64", "head-time=10", "body-time=10",
        "history=1000", "person-streams=30", "person-messages=5", "person-burst=20", "address-streams=1000",
        "address-messages=50", "address-guests=10"]
    {
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
    for (flag, wrong) in [("--drain", "30"), ("--lang", "fr"), ("--keep", "0"), ("--log", "loud"), ("--origin", "*"),
        ("--secret", "short"), ("--rate-limit", "maybe"), ("--trusted-proxy", "x")]
    {
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
    let limits = [("MARU_LIMITS", "text=5,history=7"), ("MARU_RATE_LIMIT", "off"), ("MARU_LISTEN", "127.0.0.1:1")];
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
        let mut pod =
            Pod::with(&["--log", style, "--drain", "0s", "--secret", secret, "--rate-limit", "off", "--keep", "1s"]);
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
        pod.client().send(&Request::new("GET", "/healthz").header("Host", "a b").header("Cookie", &cookie)).unwrap();
        let mut stream = pod.listen_live(&format!("/r/lobby?ticket={ticket}"));
        ann.send(&Request::new("DELETE", "/api/session").header("X-Forwarded-For", "198.51.100.7")).unwrap();
        stream.wait_for("bye", deadline()).unwrap();
        pod.tell_to_end();
        assert!(pod.ended().success());
        let log = pod.log();
        assert!(log.lines().count() >= 2, "{log}");
        for hidden in [&token[..], ticket, token.rsplit('.').next().unwrap(), ticket.rsplit('.').next().unwrap(),
            "nobodys-business", secret]
        {
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

#[test]
fn a_second_process_on_the_same_data_is_refused_with_a_sentence() {
    let pod = Pod::start();
    pod.say("lobby", "hi");
    let data = pod.data().to_str().unwrap();
    for more in [&[][..], &["--new-epoch"]] {
        let output = run(&[&["--listen", "127.0.0.1:0", "--data", data], more].concat(), &[]);
        assert!(!output.status.success());
        let said = String::from_utf8(output.stderr).unwrap();
        let said = said.trim();
        assert!(said.starts_with("maru: another maru is running") && said.contains(data), "{said}");
        assert_eq!(said.lines().count(), 1, "{said}");
    }
    // The first does not notice.
    assert_eq!(pod.say("lobby", "ho").json()["cursor"], "1-2");
    // Nor is a port taken twice.
    let address = pod.address().to_string();
    let elsewhere = tempfile::TempDir::new().unwrap();
    let output = run(&["--listen", &address, "--data", elsewhere.path().to_str().unwrap()], &[]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success() && said.contains(&format!("cannot listen on {address}")), "{said}");
    // And a directory that cannot be is said to be none.
    let output = run(&["--listen", "127.0.0.1:0", "--data", "/proc/maru"], &[]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success() && said.contains("/proc/maru"), "{said}");
}

#[test]
fn after_a_backup_was_put_back_no_place_is_given_twice() {
    let mut pod = Pod::start();
    let backup = tempfile::TempDir::new().unwrap();
    let data = pod.data().to_str().unwrap().to_owned();
    for text in ["one", "two", "three"] {
        pod.say("lobby", text);
    }
    pod.kill();
    copy(pod.data(), backup.path());
    pod.restart();
    // Said after the backup, heard, and lost: in a room that is in it and in one that is not.
    for (room, text, cursor) in [("lobby", "four", "1-4"), ("lobby", "five", "1-5"), ("attic", "a", "1-1"), ("attic", "b", "1-2")] {
        assert_eq!(pod.say(room, text).json()["cursor"], cursor);
    }
    pod.kill();
    for entry in std::fs::read_dir(pod.data()).unwrap() {
        std::fs::remove_file(entry.unwrap().path()).unwrap();
    }
    copy(backup.path(), pod.data());
    let output = run(&["--data", &data, "--new-epoch"], &[]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(String::from_utf8_lossy(&output.stdout).contains("epoch 2"), "{output:?}");
    pod.restart();

    let seq = |cursor: &str| -> u64 {
        let (epoch, seq) = cursor.split_once('-').unwrap();
        assert_eq!(epoch, "2", "{cursor}");
        seq.parse().unwrap()
    };
    // Before anybody has spoken again. The gap's end is where the new epoch begins.
    let lobby_base = {
        let seen = after(&pod, "lobby", "1-1");
        let ((last, base), rest) = seen.split_last().unwrap();
        assert_eq!((rest, last.as_str()), (&messages(&["1-2", "1-3"])[..], "gap"));
        assert!(seq(base) >= 5, "{base}");
        base.clone()
    };
    let lobby_first = pod.say("lobby", "six").json()["cursor"].as_str().unwrap().to_owned();
    let attic_first = pod.say("attic", "c").json()["cursor"].as_str().unwrap().to_owned();
    assert!(seq(&lobby_first) > 5 && seq(&attic_first) > 2, "{lobby_first} {attic_first}");
    let gap = |to: &str| vec![("gap".to_owned(), to.to_owned())];
    let new = [gap(&lobby_base), messages(&[&lobby_first])].concat();
    assert_eq!(after(&pod, "lobby", "1-1"), [messages(&["1-2", "1-3"]), new.clone()].concat());
    assert_eq!(after(&pod, "lobby", "1-3"), new);
    // It had heard what is lost.
    for lost in ["1-4", "1-5"] {
        assert_eq!(after(&pod, "lobby", lost), new, "{lost}");
    }
    assert_eq!(after(&pod, "lobby", &lobby_first), []);
    let attic = after(&pod, "attic", "1-2");
    assert_eq!((attic.len(), attic[0].0.as_str(), &attic[1].1), (2, "gap", &attic_first), "{attic:?}");

    // Whoever comes for the first time is told of the gap where it is.
    let all = replayed(pod.listen("/r/lobby?since=all"));
    assert_eq!(all, [messages(&["1-1", "1-2", "1-3"]), new.clone()].concat());
    let gap_data = {
        let mut stream = Listen::to("/r/lobby").after("1-3").open(pod.address()).unwrap();
        parsed(&stream.wait_for("gap", deadline()).unwrap().data)
    };
    assert_eq!(gap_data, json!({"from": "1-3", "to": lobby_base, "reason": "epoch"}));
    // By polling too.
    let (mut cursor, mut polled) = ("1-1".to_owned(), Vec::new());
    while polled.len() < 4 {
        let page = pod.client().get(&format!("/r/lobby?poll=1&since={cursor}")).unwrap().json();
        if let Some(to) = page["gap"]["to"].as_str() {
            polled.push(("gap".to_owned(), to.to_owned()));
        }
        for event in page["events"].as_array().unwrap() {
            polled.push(("message".to_owned(), format!("{}-{}", event["epoch"], event["seq"])));
        }
        page["cursor"].as_str().unwrap().clone_into(&mut cursor);
    }
    assert_eq!(polled, [messages(&["1-2", "1-3"]), new.clone()].concat());
    // And in history.
    let page = pod.client().get("/api/history?room=lobby&limit=2").unwrap().json();
    assert_eq!((&page["tip"], &page["before"]), (&json!(lobby_first), &json!("1-3")));
    let page = pod.client().get("/api/history?room=lobby&limit=2&before=1-3").unwrap().json();
    assert_eq!(page["events"].as_array().unwrap().iter().map(|e| e["seq"].as_u64().unwrap()).collect::<Vec<_>>(), [1, 2]);

    // A second time: the rest of each epoch, and a gap before each.
    pod.kill();
    assert!(run(&["--data", &data, "--new-epoch"], &[]).status.success());
    pod.restart();
    let third = pod.say("lobby", "seven").json()["cursor"].as_str().unwrap().to_owned();
    let seen = after(&pod, "lobby", "1-2");
    assert_eq!(seen[..3], [messages(&["1-3"]), new].concat());
    assert_eq!((seen.len(), seen[3].0.as_str(), &seen[4].1), (5, "gap", &third), "{seen:?}");
    assert!(third.starts_with("3-"), "{third}");
}

#[test]
fn old_messages_go_and_who_is_behind_is_told() {
    let mut pod = Pod::with(&["--rate-limit", "off", "--keep", "2s"]);
    // In a room that somebody has open, and in one that nobody has.
    let mut live = pod.listen_live("/r/lobby");
    for room in ["lobby", "attic"] {
        for text in ["one", "two", "three"] {
            assert_eq!(pod.say(room, text).status, 201);
        }
    }
    let listed = |room: &str| {
        let page = pod.client().get(&format!("/api/history?room={room}")).unwrap().json();
        page["events"].as_array().unwrap().len()
    };
    wait_for("they are gone", || listed("lobby") + listed("attic") == 0);
    for room in ["lobby", "attic"] {
        for behind in ["1-0", "1-2"] {
            let mut stream = Listen::to(&format!("/r/{room}")).after(behind).open(pod.address()).unwrap();
            let hello = parsed(&stream.wait_for("hello", deadline()).unwrap().data);
            assert_eq!(hello["resumed"], false);
            let Next::Event(gap) = stream.next_event(deadline()).unwrap() else { panic!("no event") };
            assert_eq!((gap.name.as_str(), gap.id.as_deref()), ("gap", Some("1-3")), "{room} {behind}");
            assert_eq!(parsed(&gap.data), json!({"from": behind, "to": "1-3", "reason": "retention"}));
        }
        let page = pod.client().get(&format!("/r/{room}?poll=1&since=1-1")).unwrap().json();
        assert_eq!((&page["gap"]["reason"], &page["cursor"]), (&json!("retention"), &json!("1-3")));
        // Who has seen all, or asks for what there is, misses nothing.
        assert_eq!(after(&pod, room, "1-3"), []);
        assert_eq!(replayed(pod.listen(&format!("/r/{room}?since=all"))), []);
        assert_eq!(replayed(pod.listen(&format!("/r/{room}"))), []);
    }
    // A place is not given twice, also after a restart.
    assert_eq!(pod.say("lobby", "four").json()["cursor"], "1-4");
    for seq in 1..=4 {
        assert_eq!(live.wait_for("message", deadline()).unwrap().id, Some(format!("1-{seq}")));
    }
    drop(live);
    pod.kill();
    pod.restart();
    assert_eq!(pod.say("attic", "four").json()["cursor"], "1-4");
    // It cannot be changed any more.
    let (token, _) = pod.sign_in("Ann");
    let edit = Request::new("PATCH", "/api/chat/lobby/messages/1").body("new");
    assert_problem(&pod.client_as(&token).send(&edit).unwrap(), 404, "not_found");
}

#[test]
fn what_goes_during_a_replay_is_announced() {
    let pod = Pod::with(&["--rate-limit", "off", "--keep", "4s"]);
    // More than all buffers between the two ends take.
    std::thread::scope(|scope| {
        for _ in 0..8 {
            let token = pod.sign_in("Ann").0;
            let mut ann = pod.client_as(&token);
            scope.spawn(move || {
                for _ in 0..250 {
                    assert_eq!(ann.post("/r/lobby", "text/plain", "x".repeat(4000)).unwrap().status, 201);
                }
            });
        }
    });
    // Nobody reads while the messages go.
    let mut stream = pod.listen("/r/lobby?since=all");
    wait_for("they are gone", || {
        let page = pod.client().get("/api/history?room=lobby").unwrap().json();
        page["events"].as_array().unwrap().is_empty()
    });
    let last = pod.say("lobby", "last").json()["seq"].as_u64().unwrap();
    let mut at = None;
    while at != Some(last) {
        let Next::Event(event) = stream.next_event(deadline()).unwrap() else { break };
        let seq = |cursor: &str| cursor.strip_prefix("1-").unwrap().parse::<u64>().unwrap();
        match event.name.as_str() {
            "hello" => at = event.id.as_deref().map(seq),
            "message" => {
                let seq = seq(&event.id.unwrap());
                assert_eq!(Some(seq), at.map(|at| at + 1), "a silent gap");
                at = Some(seq);
            }
            "gap" => {
                let gap = parsed(&event.data);
                assert_eq!((gap["from"].as_str().map(seq), &gap["reason"]), (at, &json!("retention")));
                at = event.id.as_deref().map(seq);
            }
            _ => {}
        }
    }
    // If it was sent off instead, it comes back by its cursor and is told then.
    if at != Some(last) {
        let seen = after(&pod, "lobby", &format!("1-{}", at.unwrap()));
        assert_eq!(seen[0].0, "gap", "{seen:?}");
    }
}

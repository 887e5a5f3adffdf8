//! What `deploy/` and `docs/metrics.md` say of maru is so: settings, metrics, times, and what the program needs around it.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use loadtest::http::Request;
use serde_json::Value;

use crate::harness::{Maru, Stage, program, run, stage, wait_for};

/// How long maru may take to end beyond the window of its drain.
const AROUND_DRAIN: u64 = 60;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: impl AsRef<Path>) -> String {
    let path = root().join(path);
    fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// All files of `deploy/`.
fn deployed() -> Vec<PathBuf> {
    let (mut files, mut folders) = (Vec::new(), vec![root().join("deploy")]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            // That one has somebody's passwords, and is not ours.
            if path.file_name().is_some_and(|name| name == ".env") {
                continue;
            }
            if path.is_dir() { &mut folders } else { &mut files }.push(path);
        }
    }
    files
}

/// Words that begin like this and go on with these letters.
fn words(text: &str, begin: &str, goes_on: impl Fn(char) -> bool) -> BTreeSet<String> {
    let starts = text.match_indices(begin).filter(|(at, _)| {
        let before = text[..*at].chars().next_back();
        before.is_none_or(|c| !c.is_alphanumeric() && c != '_' && c != '/' && c != '-')
    });
    let word = |(at, _): (usize, &str)| {
        let rest = &text[at + begin.len()..];
        let length = rest.find(|c| !goes_on(c)).unwrap_or(rest.len());
        format!("{begin}{}", &rest[..length])
    };
    starts.map(word).collect()
}

/// Every metric that `docs/metrics.md` names, with its type and labels: of every pod, and of a pod of many.
fn documented() -> [BTreeMap<String, (String, Vec<String>)>; 2] {
    let text = read("docs/metrics.md");
    let (every, many) = text.split_once("\n## A pod of many\n").expect("it has that section");
    [every, many].map(|section| {
        let rows = section.lines().filter(|line| line.starts_with("| `"));
        let row = |line: &str| {
            let cells: Vec<_> = line.split('|').map(str::trim).collect();
            let [_, name, kind, labels, meaning, _] = cells[..] else { panic!("{line}") };
            assert!(!meaning.is_empty(), "{line}");
            let labels = labels.split(", ").filter(|label| !label.is_empty());
            let labels = labels.map(|label| label.trim_matches('`').to_owned()).collect();
            (name.trim_matches('`').to_owned(), (kind.to_owned(), labels))
        };
        rows.map(row).collect()
    })
}

/// The same of what a pod says.
fn told(metrics: &str) -> BTreeMap<String, (String, Vec<String>)> {
    let mut told = BTreeMap::new();
    for line in metrics.lines().filter(|line| line.starts_with("# TYPE ")) {
        let [family, kind] = line["# TYPE ".len()..].split(' ').collect::<Vec<_>>()[..] else {
            panic!("{line}")
        };
        let name = if kind == "counter" { format!("{family}_total") } else { family.to_owned() };
        let sample = metrics.lines().find_map(|line| line.strip_prefix(&name)?.strip_prefix('{'));
        let labels = sample.map_or(Vec::new(), |sample| {
            let labels = sample.split('}').next().unwrap().split(',');
            labels.map(|label| label.split('=').next().unwrap().to_owned()).collect()
        });
        told.insert(name, (kind.to_owned(), labels));
    }
    told
}

#[test]
fn the_metrics_are_those_that_the_doc_names() {
    let maru = Maru::of_one(&["--limit", "person-streams=1"]);
    let (token, _) = maru.sign_in("Ann");
    // Labels are there when there is something to count.
    let mut ann = maru.client_as(&token);
    let _stream = ann.open(&Request::new("GET", "/r/lobby")).unwrap();
    _ = maru.client_as(&token).open(&Request::new("GET", "/r/lobby")).unwrap();
    assert_eq!(maru.say("lobby", "hello").status, 201);
    let [every, many] = documented();
    let known: BTreeMap<_, _> = match stage() {
        Stage::Alone => every,
        Stage::Redis | Stage::Nats => every.into_iter().chain(many).collect(),
    };
    let mut text = String::new();
    wait_for("somebody is refused, and Redis answers", || {
        text = maru.client().get("/metrics").unwrap().text();
        text.contains("maru_refused_streams_total{")
            && (maru.is_alone() || text.contains("maru_outbox_entries"))
    });
    assert_eq!(told(&text), known);
}

#[test]
fn what_the_process_takes_is_counted() {
    let maru = Maru::of_one(&["--rate-limit", "off"]);
    let files = maru.metric("process_open_fds");
    let _streams: Vec<_> = (0..20).map(|_| maru.listen_live("/r/lobby")).collect();
    let more = maru.metric("process_open_fds") - files;
    assert!((15.0..40.0).contains(&more), "20 streams are {more} files");
    assert!(maru.metric("process_max_fds") > files + more);
    let memory = maru.metric("process_resident_memory_bytes");
    assert!((f64::from(2 << 20)..1e9).contains(&memory), "{memory} bytes");
    // It comes in hundredths of a second.
    maru.wait_for_metric("process_cpu_seconds_total", |seconds| seconds > 0.0);
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs_f64();
    assert!((now - 600.0..=now).contains(&maru.metric("process_start_time_seconds")));
}

#[test]
fn speaking_is_timed_and_refusals_have_their_code() {
    let maru = Maru::of_one(&["--limit", "person-streams=1"]);
    let (token, _) = maru.sign_in("Ann");
    maru.client_as(&token).post("/r/lobby", "text/plain", "hello").unwrap();
    assert_eq!(maru.metric("maru_speak_seconds_count"), 1.0);
    assert!(maru.metric("maru_speak_seconds_sum") > 0.0);
    let mut ann = maru.client_as(&token);
    let _stream = ann.open(&Request::new("GET", "/r/lobby")).unwrap();
    _ = maru.client_as(&token).open(&Request::new("GET", "/r/lobby")).unwrap();
    assert_eq!(maru.metric(r#"maru_refused_streams_total{code="rate_limited"}"#), 1.0);
}

#[test]
fn every_setting_named_for_a_deployment_is_one_that_maru_has() {
    let help = String::from_utf8(run(&["--help"], &[]).stdout).unwrap();
    let is_name = |c: char| c.is_ascii_uppercase() || c == '_';
    let known = words(&help, "MARU_", is_name);
    assert!(known.len() > 10, "{help}");
    let mut named = BTreeSet::new();
    for file in deployed() {
        let text = fs::read_to_string(&file).unwrap();
        // What Kubernetes would call a Service is no setting.
        for setting in words(&text, "MARU_", is_name).into_iter().filter(|setting| setting != "MARU_PORT") {
            assert!(known.contains(&setting), "{} names {setting}", file.display());
            named.insert(setting);
        }
    }
    for setting in words(&read("docs/operating.md"), "MARU_", is_name) {
        assert!(known.contains(&setting), "operating.md names {setting}");
    }
    assert!(named.len() > 8, "{named:?}");
}

/// Of an expression or a text: `maru_streams_total` and the like. A histogram's parts are the histogram.
fn metrics_in(text: &str) -> BTreeSet<String> {
    let is_name = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    let [every, many] = documented();
    let histogram = |name: &str| {
        let known = every.get(name).or_else(|| many.get(name));
        known.is_some_and(|(kind, _)| kind == "histogram")
    };
    let family = |name: String| {
        let parts = ["_bucket", "_sum", "_count"];
        let whole = parts.iter().find_map(|part| name.strip_suffix(part).filter(|name| histogram(name)));
        whole.map(str::to_owned).unwrap_or(name)
    };
    let all = ["maru_", "process_"].map(|begin| words(text, begin, is_name));
    all.into_iter().flatten().map(family).collect()
}

#[test]
fn dashboard_alerts_and_autoscaler_name_metrics_that_there_are() {
    let known: BTreeSet<_> = documented().into_iter().flatten().map(|(name, _)| name).collect();
    let dashboard: Value = serde_json::from_str(&read("deploy/grafana.json")).unwrap();
    let mut expressions = Vec::new();
    for panel in dashboard["panels"].as_array().unwrap() {
        let targets = panel["targets"].as_array().into_iter().flatten();
        expressions.extend(targets.map(|target| target["expr"].as_str().unwrap().to_owned()));
    }
    assert!(expressions.len() > 20);
    for (file, text) in [
        ("grafana.json", expressions.join("\n")),
        ("alerts.yaml", read("deploy/alerts.yaml")),
        ("autoscaler.yaml", read("deploy/kubernetes/many/autoscaler.yaml")),
        ("adapter.yaml", read("deploy/kubernetes/adapter.yaml")),
        ("operating.md", read("docs/operating.md")),
    ] {
        let named = metrics_in(&text);
        let unknown: Vec<_> = named.difference(&known).collect();
        assert!(unknown.is_empty(), "{file} names {unknown:?}");
        assert!(file == "operating.md" || !named.is_empty(), "{file} names no metric");
    }
}

#[test]
fn every_alert_is_explained_and_tried() {
    let (alerts, tried) = (read("deploy/alerts.yaml"), read("deploy/alerts.test.yaml"));
    let headings: BTreeSet<_> = read("docs/operating.md")
        .lines()
        .filter_map(|line| Some(line.strip_prefix("### ")?.to_owned()))
        .collect();
    let names: Vec<_> = alerts.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")).collect();
    assert!(names.len() > 10, "{names:?}");
    for name in &names {
        assert!(headings.contains(*name), "operating.md does not explain {name}");
        let anchor = format!("runbook: docs/operating.md#{}\n", name.to_lowercase());
        assert!(alerts.contains(&anchor), "{name} does not lead to its explanation");
        assert!(tried.contains(&format!("alertname=\"{name}\"")), "{name} is not tried");
    }
    for heading in headings.iter().filter(|heading| heading.starts_with("Maru")) {
        assert!(names.contains(&&**heading), "there is no alert {heading}");
    }
}

/// The number that follows these words.
fn number_after(text: &str, words: &str) -> u64 {
    let (_, rest) = text.split_once(words).unwrap_or_else(|| panic!("it does not say {words:?}"));
    let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    rest[..digits].parse().unwrap_or_else(|_| panic!("no number after {words:?}"))
}

#[test]
fn whoever_ends_maru_waits_for_its_drain() {
    for (file, drain, patience) in [
        ("deploy/maru.service", "MARU_DRAIN=", "TimeoutStopSec="),
        ("deploy/compose.yaml", "MARU_DRAIN: ", "stop_grace_period: "),
        (
            "deploy/kubernetes/many/deployment.yaml",
            "MARU_DRAIN\n              value: ",
            "terminationGracePeriodSeconds: ",
        ),
        (
            "deploy/kubernetes/one/statefulset.yaml",
            "MARU_DRAIN\n              value: ",
            "terminationGracePeriodSeconds: ",
        ),
    ] {
        let text = read(file);
        let (drain, patience) = (number_after(&text, drain), number_after(&text, patience));
        assert!(patience >= drain + AROUND_DRAIN, "{file}: {patience} s for a drain of {drain} s");
    }
}

/// The image has the C library, and no other.
#[test]
fn the_program_needs_nothing_that_its_image_does_not_have() {
    let needs = Command::new("ldd").arg(program()).output().unwrap();
    let needs = String::from_utf8(needs.stdout).unwrap();
    let image = ["linux-vdso", "ld-linux", "libc.so.6", "libm.so.6", "libgcc_s.so.1"];
    for line in needs.lines() {
        assert!(image.iter().any(|name| line.contains(name)), "{line}");
    }
    assert!(needs.contains("libc.so.6"), "{needs}");
}

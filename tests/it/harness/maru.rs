//! A deployment: one process, or three pods and their servers.

use std::{
    io::Write,
    net::{SocketAddr, TcpStream},
    path::Path,
    process::ExitStatus,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

use loadtest::{
    http::{Client, Response},
    stream::{Listen, Stream},
};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use rustix::process::Signal;
use serde_json::Value;
use tempfile::TempDir;
use testbed::Tls;

use super::{Pod, Servers, Stage, Start, deadline, faulty_build, program, stage, wait_for};

/// Pods of a deployment that has many.
const MANY: usize = 3;

/// maru, as it is deployed.
pub struct Maru {
    // Before the servers, so that they end before them.
    pods: Vec<Pod>,
    doors: Doors,
    servers: Option<Servers>,
    secret: String,
    seed: u64,
}

/// The addresses of all pods, one of them at a time, drawn.
#[derive(Clone)]
pub struct Doors {
    addresses: Vec<SocketAddr>,
    rng: Arc<Mutex<StdRng>>,
}

impl Doors {
    /// One of them.
    pub fn any(&self) -> SocketAddr {
        let mut rng = self.rng.lock().expect("no panic while locked");
        self.addresses[rng.random_range(0..self.addresses.len())]
    }

    /// All of them.
    pub fn all(&self) -> &[SocketAddr] {
        &self.addresses
    }
}

impl Maru {
    /// With no limits of rate: for tests that are about something else.
    pub fn start() -> Self {
        Maru::with(&["--rate-limit", "off"])
    }

    /// With these arguments.
    pub fn with(args: &[&str]) -> Self {
        Maru::with_envs(args, &[])
    }

    /// With these arguments and variables.
    pub fn with_envs(args: &[&str], envs: &[(&str, &str)]) -> Self {
        Maru::of(many(), program(), args, envs, shared_servers())
    }

    /// The build that has this fault.
    pub fn faulty(fault: &str) -> Self {
        let args = ["--rate-limit", "off"];
        Maru::of(many(), faulty_build(), &args, &[("MARU_FAULT", fault)], shared_servers())
    }

    /// One pod wherever it runs, for what is promised of each pod and not of all together.
    pub fn of_one(args: &[&str]) -> Self {
        Maru::of(1, program(), args, &[], shared_servers())
    }

    /// One pod with so many open files allowed.
    pub fn of_one_with_open_files(files: u32, args: &[&str]) -> Self {
        Maru::of_one_begun_with(&format!("ulimit -n {files}\nexec"), args)
    }

    /// One pod whose instructions can be counted.
    pub fn of_one_counted(counts: &Path, args: &[&str]) -> Self {
        let tool = format!("exec valgrind -q --tool=callgrind --callgrind-out-file={}", counts.display());
        Maru::of_one_begun_with(&tool, args)
    }

    /// One pod that a shell begins with these words before its own.
    fn of_one_begun_with(words: &str, args: &[&str]) -> Self {
        use std::os::unix::fs::OpenOptionsExt;

        let folder = TempDir::new().expect("a directory can be made");
        let script = folder.path().join("maru");
        let mut file =
            std::fs::File::options().create_new(true).write(true).mode(0o700).open(&script).expect("a file");
        write!(file, "#!/bin/sh\n{words} {} \"$@\"\n", program().display()).expect("written");
        drop(file);
        Maru::of(1, &script, args, &[], shared_servers())
    }

    /// Three pods on servers that this test may harm, or one process that needs none; of the build that has a fault, if
    /// one is named.
    pub fn on_servers_of_its_own(args: &[&str], fault: Option<&str>) -> Self {
        let servers = (stage() != Stage::Alone).then(|| Servers::safe(stage()));
        let args = [&["--rate-limit", "off"], args].concat();
        let envs: Vec<_> = fault.iter().map(|fault| ("MARU_FAULT", *fault)).collect();
        let program = if fault.is_some() { faulty_build() } else { program() };
        Maru::of(many(), program, &args, &envs, servers)
    }

    /// The same, on these servers.
    pub fn on(servers: Servers, args: &[&str]) -> Self {
        Maru::of(MANY, program(), &[&["--rate-limit", "off"], args].concat(), &[], Some(servers))
    }

    /// With dice that fall as this number says.
    pub fn drawn_from(mut self, seed: u64) -> Self {
        *self.doors.rng.lock().expect("no panic while locked") = StdRng::seed_from_u64(seed);
        self.seed = seed;
        self
    }

    /// The number that its dice fall by.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// Pods that trust this authority and no other, on servers that are spoken to over TLS.
    pub fn over_tls(tls: &Tls) -> Self {
        let authority = tls.authority();
        let envs = [("SSL_CERT_FILE", authority.to_str().expect("a path in UTF-8"))];
        Maru::of(MANY, program(), &["--rate-limit", "off"], &envs, Some(Servers::over_tls(stage(), tls)))
    }

    fn of(
        pods: usize,
        program: &Path,
        args: &[&str],
        envs: &[(&str, &str)],
        servers: Option<Servers>,
    ) -> Self {
        Maru::each_begun(pods, servers, args, |_, _, start| {
            program.clone_into(&mut start.program);
            start.envs = envs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        })
    }

    /// On servers that this test may harm, with each pod begun as `change` has it: it is told the pod's number and the
    /// servers.
    pub fn each_begun_as(change: impl FnMut(usize, Option<&Servers>, &mut Start)) -> Self {
        let servers = (stage() != Stage::Alone).then(|| Servers::safe(stage()));
        Maru::each_begun(many(), servers, &["--rate-limit", "off"], change)
    }

    fn each_begun(
        pods: usize,
        servers: Option<Servers>,
        args: &[&str],
        mut change: impl FnMut(usize, Option<&Servers>, &mut Start),
    ) -> Self {
        static STARTED: AtomicU64 = AtomicU64::new(0);

        let seed = seed();
        let nth = STARTED.fetch_add(1, Ordering::Relaxed);
        let secret = format!("the secret of the tests' maru {nth}");
        let start = Start::of(program(), all_args(args, servers.as_ref(), &secret));
        let begin = |n| {
            let mut start = start.clone();
            change(n, servers.as_ref(), &mut start);
            Pod::start(start)
        };
        // One makes the tables, the others come to it, as they mostly do.
        let pods: Vec<_> = (0..pods).map(begin).collect();
        let addresses = pods.iter().map(Pod::address).collect();
        let rng = Arc::new(Mutex::new(StdRng::seed_from_u64(seed)));
        Maru { pods, doors: Doors { addresses, rng }, servers, secret, seed }
    }

    /// It is reached at these addresses from now on, such as those of proxies.
    pub fn reached_at(mut self, addresses: Vec<SocketAddr>) -> Self {
        self.doors.addresses = addresses;
        self
    }

    /// Where one of its pods listens.
    pub fn address(&self) -> SocketAddr {
        self.doors.any()
    }

    /// For threads that outlive a look at this: where its pods listen.
    pub fn doors(&self) -> Doors {
        self.doors.clone()
    }

    /// The first of its pods: where something is said of one.
    pub fn one_pod(&self) -> &Pod {
        &self.pods[0]
    }

    pub fn pods(&self) -> &[Pod] {
        &self.pods
    }

    pub fn pod(&mut self, n: usize) -> &mut Pod {
        &mut self.pods[n]
    }

    /// Does it stand on nothing, as one process with SQLite?
    pub fn is_alone(&self) -> bool {
        self.servers.is_none()
    }

    /// Events that wait for the archive, where there is one.
    pub fn outboxes(&self) -> u64 {
        self.servers.as_ref().map_or(0, Servers::outboxes)
    }

    /// The servers that it stands on.
    pub fn servers(&self) -> &Servers {
        self.servers.as_ref().expect("it stands on servers")
    }

    /// The same, to harm them.
    pub fn servers_mut(&mut self) -> &mut Servers {
        self.servers.as_mut().expect("it stands on servers")
    }

    /// The `durability` of its answers unless another is asked for.
    pub fn durability(&self) -> &'static str {
        if self.servers.is_some() { "buffered" } else { "stored" }
    }

    /// Is this text anywhere in what is kept for good?
    pub fn has_stored(&self, text: &str) -> bool {
        let stored = match &self.servers {
            Some(servers) => servers.database.dump().into_bytes(),
            None => std::fs::read(self.one_pod().data().join("maru.db")).expect("there is a database"),
        };
        stored.windows(text.len()).any(|bytes| bytes == text.as_bytes())
    }

    /// `kill -9`.
    pub fn kill(&mut self) {
        self.pods.iter_mut().for_each(Pod::kill);
    }

    /// Starts it again on the same ports, data and servers.
    pub fn restart(&mut self) {
        self.pods.iter_mut().for_each(Pod::restart);
    }

    /// Kills it and starts it with other arguments on the same ports, data and servers.
    pub fn restart_with(&mut self, args: &[&str]) {
        self.kill();
        let args = all_args(args, self.servers.as_ref(), &self.secret);
        self.pods.iter_mut().for_each(|pod| pod.set_args(args.clone()));
        self.restart();
    }

    /// What it has said on standard error so far; all of it once it has ended.
    pub fn log(&self) -> String {
        self.pods.iter().map(Pod::log).collect()
    }

    /// SIGTERM, without waiting.
    pub fn tell_to_end(&self) {
        self.signal(Signal::TERM);
    }

    /// A signal to every pod, without waiting.
    pub fn signal(&self, signal: Signal) {
        self.pods.iter().for_each(|pod| pod.signal(signal));
    }

    /// Waits until all of it has ended by itself; gives how it ended, and if somewhere it ended badly, that.
    pub fn ended(&mut self) -> ExitStatus {
        let ends: Vec<_> = self.pods.iter_mut().map(Pod::ended).collect();
        *ends.iter().find(|end| !end.success()).unwrap_or(&ends[0])
    }

    /// Does any pod take a connection?
    pub fn takes_connections(&self) -> bool {
        self.doors.addresses.iter().any(|address| TcpStream::connect(address).is_ok())
    }

    /// A client of one of its pods.
    pub fn client(&self) -> Client {
        Client::new(self.address())
    }

    /// Does this hold on every pod?
    pub fn on_all(&self, mut holds: impl FnMut(Client) -> bool) -> bool {
        self.doors.addresses.iter().all(|address| holds(Client::new(*address)))
    }

    /// Says something as a new guest; gives the answer.
    pub fn say(&self, room: &str, text: &str) -> Response {
        let target = format!("/r/{}", loadtest::speak::percent_encoded(room));
        self.client().post(&target, "text/plain", text).expect("an answer")
    }

    /// Signs in; gives the token and the user.
    pub fn sign_in(&self, name: &str) -> (String, Value) {
        let answer =
            self.client().post_json("/api/session", &serde_json::json!({"name": name})).expect("an answer");
        assert_eq!(answer.status, 201, "{}", answer.text());
        let session = answer.json();
        (session["token"].as_str().expect("a token").to_owned(), session["user"].clone())
    }

    /// A client that carries a token.
    pub fn client_as(&self, token: &str) -> Client {
        self.client().header("Authorization", &format!("Bearer {token}"))
    }

    pub fn listen(&self, target: &str) -> Stream {
        Listen::to(target).open(self.address()).expect("a stream")
    }

    /// A stream that has had its replay.
    pub fn listen_live(&self, target: &str) -> Stream {
        let mut stream = self.listen(target);
        stream.wait_for("live", deadline()).expect("the replay ends");
        stream
    }

    /// A figure of `/metrics`, summed over the pods.
    pub fn metric(&self, name: &str) -> f64 {
        self.metric_of_each(name).iter().sum()
    }

    /// A figure of `/metrics` of each pod.
    pub fn metric_of_each(&self, name: &str) -> Vec<f64> {
        self.pods.iter().map(|pod| pod.metric(name)).collect()
    }

    /// Waits until a figure of `/metrics`, summed over the pods, is as wanted.
    pub fn wait_for_metric(&self, name: &str, wanted: impl Fn(f64) -> bool) {
        wait_for(name, || wanted(self.metric(name)));
    }
}

impl Drop for Maru {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("drawn from MARU_TEST_SEED={} on {:?}", self.seed, stage());
        }
    }
}

fn many() -> usize {
    if stage() == Stage::Alone { 1 } else { MANY }
}

fn shared_servers() -> Option<Servers> {
    (stage() != Stage::Alone).then(|| Servers::fast(stage()))
}

/// The arguments of a test and those that its deployment needs.
fn all_args(args: &[&str], servers: Option<&Servers>, secret: &str) -> Vec<String> {
    let mut all: Vec<_> = args.iter().map(|arg| (*arg).to_owned()).collect();
    if let Some(servers) = servers {
        all.extend(servers.args());
        if !args.contains(&"--secret") {
            all.extend(["--secret".into(), secret.into()]);
        }
    }
    all
}

fn seed() -> u64 {
    match std::env::var("MARU_TEST_SEED") {
        Ok(seed) => seed.parse().expect("MARU_TEST_SEED is a number"),
        Err(_) => rand::random_range(0..1_000_000),
    }
}

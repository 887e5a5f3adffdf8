//! A Redis server.

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    path::PathBuf,
    process::Command,
    time::Duration,
};

use tempfile::TempDir;

use crate::{
    Tls,
    port::Port,
    process::{Process, inside},
};

/// When the append-only file goes to the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Aof {
    /// With each command: nothing that was answered is lost.
    Always,
    /// Once a second.
    EverySecond,
    /// There is none: a restart begins with nothing.
    Off,
}

/// `redis-server`, from Debian's package.
#[derive(Debug)]
pub struct Redis {
    process: Process,
    data: TempDir,
    args: Vec<String>,
    /// Where it listens for TLS, if it does.
    tls_port: Option<Port>,
    /// The port of its master, if it begins as a replica.
    master: Option<u16>,
}

impl Redis {
    /// With an append-only file and `noeviction`, as maru wants it.
    ///
    /// # Panics
    /// When it cannot be started, as all here.
    pub fn start() -> Self {
        Redis::with(Aof::Always, &[])
    }

    /// With these directives of redis.conf as well, such as `["--requirepass", "secret"]`.
    pub fn with(aof: Aof, args: &[&str]) -> Self {
        Redis::at(aof, args, None, None)
    }

    /// A replica of this one, that would be its match.
    pub fn replica_of(master: &Redis, args: &[&str]) -> Self {
        Redis::at(Aof::Always, args, None, Some(master.port()))
    }

    /// The same over TLS, as its URL says.
    pub fn over_tls(aof: Aof, args: &[&str], tls: &Tls) -> Self {
        let port = Port::any();
        let file = |path: PathBuf| path.to_str().expect("a path in UTF-8").to_owned();
        let (certificate, key) = (file(tls.certificate()), file(tls.key()));
        let port_arg = port.number().to_string();
        let tls = ["--tls-port", &port_arg, "--tls-cert-file", &certificate, "--tls-key-file", &key];
        // Who the client is it learns by the password.
        let args = [args, &tls, &["--tls-auth-clients", "no"]].concat();
        Redis::at(aof, &args, Some(port), None)
    }

    fn at(aof: Aof, args: &[&str], tls_port: Option<Port>, master: Option<u16>) -> Self {
        let data = TempDir::new().expect("a directory can be made");
        let (append, sync) = match aof {
            Aof::Always => ("yes", "always"),
            Aof::EverySecond => ("yes", "everysec"),
            Aof::Off => ("no", "no"),
        };
        let fixed =
            ["--save", "", "--maxmemory-policy", "noeviction", "--appendonly", append, "--appendfsync", sync];
        let args = fixed.iter().chain(args).map(|arg| (*arg).to_owned()).collect();
        let process = Process::new("redis-server", inside(data.path(), "log"), Port::any());
        let mut redis = Redis { process, data, args, tls_port, master };
        redis.start_again();
        redis
    }

    /// `redis://…`, as `--redis` takes it.
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.process.port())
    }

    /// The same, as this user; `rediss://…` if it was started over TLS.
    pub fn url_as(&self, user: &str, password: &str) -> String {
        match &self.tls_port {
            Some(port) => format!("rediss://{user}:{password}@{}", port.address()),
            None => format!("redis://{user}:{password}@127.0.0.1:{}", self.process.port()),
        }
    }

    /// Where it listens.
    pub fn port(&self) -> u16 {
        self.process.port()
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// Starts it again on the same port and data, after [`Redis::kill`] or [`Redis::stop`].
    pub fn start_again(&mut self) {
        let mut command = Command::new("redis-server");
        command
            .args(["--port", &self.process.port().to_string(), "--bind", "127.0.0.1", "--dir"])
            .arg(self.data.path())
            .args(&self.args);
        if let Some(master) = self.master {
            command.args(["--replicaof", "127.0.0.1", &master.to_string()]);
        }
        let port = self.process.port();
        self.process.start(command, || ask(port, &["PING"]).is_ok_and(|said| !said.contains("LOADING")));
    }

    /// From its next start on it is a replica of this one; it must not run.
    pub fn follow(&mut self, master: &Redis) {
        assert!(!self.process.is_running(), "it still runs");
        self.master = Some(master.port());
    }

    /// Is it a replica that has all that its master has, or had?
    pub fn has_caught_up(&self) -> bool {
        self.is(&["role:slave", "master_link_status:up"])
    }

    /// Is it a master, by itself or because Sentinel says so?
    pub fn is_master(&self) -> bool {
        self.is(&["role:master"])
    }

    /// Does it say all this of its replication? While Sentinel changes it, it may break off.
    fn is(&self, all: &[&str]) -> bool {
        let said = ask(self.process.port(), &["INFO", "replication"]);
        said.is_ok_and(|said| all.iter().all(|one| said.contains(one)))
    }

    /// `kill -9`.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// SIGTERM: it writes what it has and ends.
    pub fn stop(&mut self) {
        self.process.stop();
    }

    /// `kill -STOP`: it hangs.
    pub fn hang(&self) {
        self.process.hang();
    }

    /// `kill -CONT`.
    pub fn go_on(&self) {
        self.process.go_on();
    }

    /// One command, spoken plainly; gives the first line of the answer, or the string that it announces.
    ///
    /// # Panics
    /// When it does not answer.
    pub fn command(&self, words: &[&str]) -> String {
        ask(self.process.port(), words).expect("redis answers")
    }

    /// Its append-only files as they are now: for [`Redis::put_back`].
    pub fn copy_of_data(&self) -> Vec<(PathBuf, Vec<u8>)> {
        let folder = self.data.path().join("appendonlydir");
        let files = fs::read_dir(folder).expect("there is an append-only file");
        files
            .map(|file| file.expect("it can be read").path())
            .map(|path| (path.clone(), fs::read(&path).expect("it can be read")))
            .collect()
    }

    /// Puts older data in place of what is there; it must not run.
    pub fn put_back(&mut self, data: &[(PathBuf, Vec<u8>)]) {
        self.wipe();
        fs::create_dir_all(self.data.path().join("appendonlydir")).expect("a directory can be made");
        for (path, bytes) in data {
            fs::write(path, bytes).expect("it can be written");
        }
    }

    /// It is killed, and comes back with older data.
    pub fn come_back_with(&mut self, older: &[(PathBuf, Vec<u8>)]) {
        self.kill();
        self.put_back(older);
        self.start_again();
    }

    /// Takes all its data away; it must not run.
    pub fn wipe(&mut self) {
        assert!(!self.process.is_running(), "it still runs");
        let folder = self.data.path().join("appendonlydir");
        if folder.exists() {
            fs::remove_dir_all(folder).expect("it can be removed");
        }
    }
}

/// One command over a connection of its own, in RESP2.
pub(crate) fn ask(port: u16, words: &[&str]) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(Duration::from_secs(30)))?;
    let mut request = format!("*{}\r\n", words.len());
    for word in words {
        request += &format!("${}\r\n{word}\r\n", word.len());
    }
    stream.write_all(request.as_bytes())?;
    let mut answer = BufReader::new(stream);
    let mut line = String::new();
    answer.read_line(&mut line)?;
    let line = line.trim_end();
    if let Some(length) = line.strip_prefix('$').and_then(|length| length.parse().ok()) {
        let mut string = vec![0; length];
        answer.read_exact(&mut string)?;
        return Ok(String::from_utf8_lossy(&string).into_owned());
    }
    Ok(line.to_owned())
}

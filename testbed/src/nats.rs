//! A NATS server.

use std::process::Command;

use tempfile::TempDir;

use crate::{
    Tls,
    port::Port,
    process::{Process, inside},
};

/// `nats-server`, from Debian's package.
#[derive(Debug)]
pub struct Nats {
    process: Process,
    data: TempDir,
    config: String,
    scheme: &'static str,
}

impl Nats {
    /// Without any limit of its own.
    ///
    /// # Panics
    /// When it cannot be started, as all here.
    pub fn start() -> Self {
        Nats::with("")
    }

    /// With these lines in its configuration file.
    pub fn with(config: &str) -> Self {
        Nats::at("nats", config)
    }

    /// Over TLS, and with nobody who speaks otherwise.
    pub fn over_tls(tls: &Tls) -> Self {
        let (certificate, key) = (tls.certificate(), tls.key());
        Nats::at("tls", &format!("tls {{ cert_file: {certificate:?}, key_file: {key:?} }}"))
    }

    fn at(scheme: &'static str, config: &str) -> Self {
        let data = TempDir::new().expect("a directory can be made");
        let process = Process::new("nats-server", inside(data.path(), "log"), Port::any());
        let mut nats = Nats { process, data, config: config.to_owned(), scheme };
        nats.start_again();
        nats
    }

    /// `nats://…` or `tls://…`, as `--nats` takes it.
    pub fn url(&self) -> String {
        format!("{}://127.0.0.1:{}", self.scheme, self.process.port())
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// Starts it again on the same port.
    pub fn start_again(&mut self) {
        let config = inside(self.data.path(), "nats.conf");
        std::fs::write(&config, &self.config).expect("it can be written");
        let mut command = Command::new("nats-server");
        command.args(["-a", "127.0.0.1", "-p", &self.process.port().to_string(), "-c"]).arg(config);
        let address = self.process.address();
        self.process.start(command, || Process::listens(address));
    }

    /// What it has said so far.
    pub fn log(&self) -> String {
        self.process.said()
    }

    /// `kill -9`.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// `kill -STOP`: it hangs.
    pub fn hang(&self) {
        self.process.hang();
    }

    /// `kill -CONT`.
    pub fn go_on(&self) {
        self.process.go_on();
    }
}

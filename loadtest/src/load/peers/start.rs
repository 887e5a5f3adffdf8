//! How a program is found and started.

use super::Dialect;
use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;
use testbed::{Port, Redis};

/// How a peer is started.
pub(crate) struct Start {
    program: PathBuf,
    arguments: Vec<String>,
    environment: Vec<(&'static str, String)>,
    pub(crate) port: Port,
    /// What it stands on, if it does.
    pub(crate) redis: Option<Redis>,
    pub(crate) dialect: &'static Dialect,
}

impl Start {
    pub(super) fn new(program: &Path, port: Port, dialect: &'static Dialect) -> Self {
        let (arguments, environment) = (Vec::new(), Vec::new());
        Self { program: program.to_owned(), arguments, environment, port, redis: None, dialect }
    }

    pub(super) fn arguments<A: Into<String>>(mut self, arguments: impl IntoIterator<Item = A>) -> Self {
        self.arguments.extend(arguments.into_iter().map(Into::into));
        self
    }

    pub(super) fn environment(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.environment.push((name, value.into()));
        self
    }

    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.args(&self.arguments).envs(self.environment.iter().map(|(k, v)| (k, v)));
        command
    }

    /// What one would type, with `DIRECTORY` for the throw-away one.
    pub(super) fn to_string(&self, directory: &Path) -> String {
        let program = self.program.file_name().unwrap_or_default().to_string_lossy();
        let environment = self.environment.iter().map(|(name, value)| format!("{name}={value}"));
        let words = environment.chain([program.into_owned()]).chain(self.arguments.iter().cloned());
        let line = words.collect::<Vec<_>>().join(" ");
        line.replace(&*directory.to_string_lossy(), "DIRECTORY")
    }
}

/// The program of this name on `PATH`, or where those are that administrators start.
pub(super) fn on_path(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let administrators = ["/usr/local/sbin", "/usr/sbin"].map(PathBuf::from);
    env::split_paths(&path).chain(administrators).map(|folder| folder.join(name)).find(|file| file.is_file())
}

/// The first line that a program says when it is started like this.
pub(super) fn first_line(program: &Path, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).output().ok()?;
    let said = [output.stdout, output.stderr].concat();
    Some(String::from_utf8_lossy(&said).lines().next()?.trim().to_owned())
}

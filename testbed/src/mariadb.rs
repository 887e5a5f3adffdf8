//! A MariaDB server, and databases in it.

use std::{
    os::unix::process::CommandExt,
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
};

use tempfile::TempDir;

use crate::{
    Tls,
    port::Port,
    process::{Process, inside},
};

/// `mariadbd`, from Debian's package; it stands in for MySQL.
#[derive(Debug)]
pub struct MariaDb {
    process: Process,
    extra_port: Port,
    data: TempDir,
    args: Vec<String>,
    databases: AtomicU32,
    /// What URLs end with.
    options: &'static str,
}

impl MariaDb {
    /// As it comes, with every commit on the disk.
    ///
    /// # Panics
    /// When it cannot be started, as all here.
    pub fn start() -> Self {
        MariaDb::with(&[])
    }

    /// With these arguments as well, such as `["--max-connections=5"]`.
    pub fn with(args: &[&str]) -> Self {
        MariaDb::at(args, "")
    }

    /// Over TLS, and with nobody who speaks otherwise.
    pub fn over_tls(tls: &Tls) -> Self {
        let certificate = format!("--ssl-cert={}", tls.certificate().display());
        let key = format!("--ssl-key={}", tls.key().display());
        MariaDb::at(&[&certificate, &key, "--require-secure-transport=ON"], "?require_ssl=true")
    }

    fn at(args: &[&str], options: &'static str) -> Self {
        let data = TempDir::new().expect("a directory can be made");
        let made = Command::new("mariadb-install-db")
            .args(["--no-defaults", "--auth-root-authentication-method=normal", "--skip-test-db"])
            .args(whoami())
            .arg(format!("--datadir={}", data.path().join("data").display()))
            // Each start clears away what it takes for leftovers of its own.
            .arg(format!("--tmpdir={}", data.path().display()))
            .output()
            .expect("mariadb-install-db is not installed here; ./test installs it");
        assert!(
            made.status.success(),
            "no database could be made: {}",
            String::from_utf8_lossy(&made.stderr)
        );
        let process = Process::new("mariadbd", inside(data.path(), "log"), Port::any());
        let args = args.iter().map(|arg| (*arg).to_owned()).collect();
        let extra_port = Port::any();
        let mut server = MariaDb { process, extra_port, data, args, databases: AtomicU32::new(0), options };
        server.start_again();
        server
    }

    /// A new, empty database, and a user who has all rights there and none elsewhere.
    pub fn database(&self) -> Database {
        let n = self.databases.fetch_add(1, Ordering::Relaxed);
        let name = format!("maru{n}");
        self.sql(&format!(
            "CREATE DATABASE {name} CHARACTER SET utf8mb4; \
             GRANT ALL ON {name}.* TO {name}@'127.0.0.1' IDENTIFIED BY 'secret'"
        ));
        Database {
            url: format!("mysql://{name}:secret@127.0.0.1:{}/{name}{}", self.process.port(), self.options),
            name,
            doors: self.doors(),
        }
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// Starts it again on the same port and data.
    pub fn start_again(&mut self) {
        let mut command = Command::new("mariadbd");
        command
            .args(["--no-defaults", "--bind-address=127.0.0.1", "--innodb-buffer-pool-size=64M"])
            .args(["--skip-name-resolve", "--performance-schema=OFF"])
            .args(whoami())
            .arg(format!("--port={}", self.process.port()))
            .arg(format!("--extra-port={}", self.extra_port.number()))
            .arg("--extra-max-connections=10")
            .arg(format!("--socket={}", self.socket().display()))
            .arg(format!("--tmpdir={}", self.data.path().display()))
            .arg(format!("--datadir={}", self.data.path().join("data").display()))
            .args(&self.args);
        let doors = self.doors();
        let address = self.process.address();
        self.process.start(command, || Process::listens(address) && doors.sql("", "SELECT 1").is_ok());
    }

    /// One statement or several; gives the rows, a tab between two columns.
    pub fn sql(&self, statements: &str) -> String {
        self.doors().sql("", statements).expect("mariadb answers")
    }

    /// `kill -9`.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// SIGTERM, and waits for the end.
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

    fn socket(&self) -> PathBuf {
        inside(self.data.path(), "sock")
    }

    fn doors(&self) -> Doors {
        Doors { socket: self.socket(), extra_port: self.extra_port.number() }
    }
}

/// One database of a server.
#[derive(Clone, Debug)]
pub struct Database {
    name: String,
    url: String,
    doors: Doors,
}

impl Database {
    /// `mysql://…`, as `--mysql` takes it.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// One statement or several; gives the rows, a tab between two columns.
    ///
    /// # Panics
    /// When it does not answer, or refuses.
    pub fn sql(&self, statements: &str) -> String {
        self.doors.sql(&self.name, statements).expect("mariadb answers")
    }

    /// Ends every connection of those who came by [`Database::url`].
    ///
    /// # Panics
    /// As [`Database::sql`].
    pub fn cut_off(&self) {
        self.sql(&format!("KILL USER {}", self.name));
    }

    /// Somebody else who asks for a connection, as this user without a password, and does nothing with it.
    ///
    /// # Panics
    /// When the client program cannot be started.
    pub fn idler(&self, user: &str) -> Idler {
        let mut client = Command::new("mariadb");
        client.args(["--no-defaults", "-u", user, "-S"]).arg(&self.doors.socket).process_group(0);
        // It waits for what is typed.
        client.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        Idler(client.spawn().expect("mariadb runs"))
    }

    /// Every row of every table, as statements that would write it again.
    ///
    /// # Panics
    /// As [`Database::sql`].
    pub fn dump(&self) -> String {
        let output = Command::new("mariadb-dump")
            .args(["--no-defaults", "-u", "root", "--skip-lock-tables", "--single-transaction", "-S"])
            .arg(&self.doors.socket)
            .arg(&self.name)
            .output()
            .expect("mariadb-dump runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }
}

/// Holds a connection until it is dropped, unless it was refused.
#[derive(Debug)]
pub struct Idler(Child);

impl Drop for Idler {
    fn drop(&mut self) {
        _ = self.0.kill();
        _ = self.0.wait();
    }
}

/// Where root comes in.
#[derive(Clone, Debug)]
struct Doors {
    socket: PathBuf,
    /// A port for whoever has to see to a server that takes nobody else any more.
    extra_port: u16,
}

impl Doors {
    /// By the client program, so that what is tested is not used to test it.
    fn sql(&self, database: &str, statements: &str) -> Result<String, String> {
        let socket = self.socket.to_string_lossy();
        match ask(&["-S", &socket], database, statements) {
            Err(said) if said.contains("Too many connections") => {
                ask(&["-h", "127.0.0.1", "-P", &self.extra_port.to_string()], database, statements)
            }
            answer => answer,
        }
    }
}

fn ask(by: &[&str], database: &str, statements: &str) -> Result<String, String> {
    let output = Command::new("mariadb")
        .args(["--no-defaults", "-u", "root", "-N", "-B", "--default-character-set=utf8mb4"])
        .args(by)
        .args(["-e", statements, database])
        .output()
        .map_err(|e| e.to_string())?;
    match output.status.success() {
        true => Ok(String::from_utf8_lossy(&output.stdout).trim_end().to_owned()),
        false => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
    }
}

/// mariadbd runs as root only when it is told to.
fn whoami() -> Vec<&'static str> {
    if rustix::process::geteuid().is_root() { vec!["--user=root"] } else { vec![] }
}

//! Arguments → settings → runtime → run → drain → exit code.
//!
//! Here rather than in `main.rs`, because two programs begin here: the server, and the one with faults.

use std::{io::Write, process::ExitCode};

use clap::Parser;
use tokio::signal::unix::{SignalKind, signal};

use crate::{
    config::{Config, LogStyle},
    log::new_epoch,
    server::Server,
};

/// Settings of what is not built. Whoever sets one expects more than this program does.
const UNBUILT: [&str; 3] = ["MARU_REDIS_URL", "MARU_NATS_URL", "MARU_MYSQL_URL"];

/// The whole program.
pub fn main() -> ExitCode {
    let config = Config::parse();
    start_log(&config.log);
    if let Some(name) =
        UNBUILT.into_iter().find(|name| std::env::var_os(name).is_some_and(|value| !value.is_empty()))
    {
        eprintln!(
            "maru: {name} is set, but this maru runs on one machine alone: it does not speak to other servers yet"
        );
        return ExitCode::FAILURE;
    }
    if let Err(e) = config.check() {
        eprintln!("maru: {e}");
        return ExitCode::FAILURE;
    }
    let done = if config.new_epoch { begin_epoch(&config) } else { serve(config) };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("maru: {e}");
            ExitCode::FAILURE
        }
    }
}

fn begin_epoch(config: &Config) -> std::io::Result<()> {
    let epoch = new_epoch(&config.data)?;
    println!("epoch {epoch} begins in {}; start maru as usual", config.data.display());
    Ok(())
}

fn serve(config: Config) -> std::io::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let done = runtime.block_on(async {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let data = config.data.display().to_string();
        let server = Server::start(config).await?;
        greet(&server, &data)?;
        server
            .run(async {
                tokio::select! {
                    _ = terminate.recv() => {}
                    _ = interrupt.recv() => {}
                }
            })
            .await
    });
    runtime.shutdown_timeout(std::time::Duration::from_secs(1));
    done
}

/// What a person who has just started it wants to know.
fn greet(server: &Server, data: &str) -> std::io::Result<()> {
    let address = server.address()?;
    let mut out = std::io::stdout().lock();
    writeln!(out, "maru listens at http://{address}")?;
    writeln!(out, "  page    http://{address}/r/lobby")?;
    writeln!(out, "  listen  curl -N {address}/r/lobby")?;
    writeln!(out, "  speak   curl -d hello {address}/r/lobby")?;
    writeln!(out, "  data    {data}")?;
    writeln!(
        out,
        "  limit   {} streams at once, by the open files allowed (ulimit -n)",
        server.most_streams()
    )?;
    out.flush()
}

fn start_log(style: &LogStyle) {
    let log =
        tracing_subscriber::fmt().with_writer(std::io::stderr).with_max_level(style.level).with_target(false);
    if style.json {
        log.json().init();
    } else {
        log.with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr())).init();
    }
}

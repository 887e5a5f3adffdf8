//! Arguments → settings → runtime → run → drain → exit code; or another command than to serve.
//!
//! Here rather than in `main.rs`, because two programs begin here: the server, and the one with faults.

use std::{
    io::{self, Write},
    process::ExitCode,
};

use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::{
    filter::Targets, fmt::format::JsonFields, layer::SubscriberExt, util::SubscriberInitExt,
};

use crate::{
    archive::Archive,
    commands::CommandLine,
    config::{Config, LogStyle, Store},
    log::new_epoch,
    pods,
    server::Server,
};

mod lines;

use lines::{JsonLines, TextLines};

/// The whole program.
pub fn main() -> ExitCode {
    let CommandLine { config, command } = CommandLine::read();
    if let Some(command) = command {
        return command.run(&config);
    }
    start_log(&config.log);
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

fn begin_epoch(config: &Config) -> io::Result<()> {
    let (epoch, place) = match config.store().map_err(io::Error::other)? {
        Store::Alone => (new_epoch(&config.data)?, config.data.display().to_string()),
        Store::Pods { mysql, .. } => {
            let begun = runtime()?.block_on(async {
                let archive = Archive::open(mysql).await.map_err(|e| e.to_string())?;
                pods::new_epoch(&archive).await
            });
            (begun.map_err(io::Error::other)?, "MySQL".into())
        }
    };
    println!("epoch {epoch} begins in {place}; start maru as usual");
    Ok(())
}

fn runtime() -> io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()
}

fn serve(config: Config) -> io::Result<()> {
    let runtime = runtime()?;
    let done = runtime.block_on(async {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let data = match config.store() {
            Ok(Store::Pods { nats, .. }) => match nats {
                Some(_) => "in MySQL, by Redis; NATS carries".into(),
                None => "in MySQL, by Redis".into(),
            },
            _ => config.data.display().to_string(),
        };
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
fn greet(server: &Server, data: &str) -> io::Result<()> {
    let address = server.address()?;
    let mut out = io::stdout().lock();
    let (site, curl) = match server.is_tls() {
        true => (format!("https://{address}"), format!("https://{address}")),
        false => (format!("http://{address}"), address.to_string()),
    };
    writeln!(out, "maru listens at {site}")?;
    writeln!(out, "  page    {site}/r/lobby")?;
    writeln!(out, "  listen  curl -N {curl}/r/lobby")?;
    writeln!(out, "  speak   curl -d hello {curl}/r/lobby")?;
    writeln!(out, "  data    {data}")?;
    writeln!(
        out,
        "  limit   {} streams at once, by the open files allowed (ulimit -n)",
        server.most_streams()
    )?;
    out.flush()
}

fn start_log(style: &LogStyle) {
    // What the client of NATS takes for news is not news to whoever runs this.
    let quiet = style.level.min(tracing::Level::WARN);
    // What moderators did is told at any level.
    let moderation = style.level.max(tracing::Level::INFO);
    let targets = Targets::new()
        .with_default(style.level)
        .with_target("async_nats", quiet)
        .with_target("maru::moderation", moderation);
    let log = tracing_subscriber::fmt::layer().with_writer(io::stderr);
    let format = tracing_subscriber::fmt::format().with_target(false);
    let registry = tracing_subscriber::registry().with(targets);
    if style.json {
        let log = log.fmt_fields(JsonFields::new()).event_format(JsonLines(format.json()));
        registry.with(log).init();
    } else {
        let has_colours = io::IsTerminal::is_terminal(&io::stderr());
        let log = log.with_ansi(has_colours).event_format(TextLines(format.with_ansi(has_colours)));
        registry.with(log).init();
    }
}

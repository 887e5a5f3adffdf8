//! What the program does besides serving, for whoever runs it: `maru health`, `maru token`, `maru doctor`.
//!
//! Each has all the settings of the server, so that the same environment does for both.

use std::process::ExitCode;

use clap::{ArgMatches, CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::{config::Config, doctor};

mod health;
mod token;

/// A chat server that speaks plain HTTP: POST to speak, Server-Sent Events to listen.
///
/// Without any setting it is a complete chat server at http://127.0.0.1:8080 that keeps everything in
/// ./maru-data.
#[derive(Debug, Parser)]
#[command(name = "maru", version, max_term_width = 100, disable_help_subcommand = true)]
pub struct CommandLine {
    /// Settings of the server.
    #[command(flatten)]
    pub config: Config,
    /// Something else than to serve.
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Ask the server that --listen names whether it is alive: one line, and exit status 0 or 1
    Health,
    /// Print a session token for a program: curl -H "Authorization: Bearer $(maru token --name Bot)" …
    Token(token::Asked),
    /// Look at settings, servers and the machine, and say what is wrong: exit status 1 if something failed
    Doctor(doctor::Asked),
}

impl CommandLine {
    /// As the program was begun; ends it where that cannot be understood.
    pub fn read() -> Self {
        let mut command = all_settings_everywhere();
        let matches = command.get_matches_mut();
        CommandLine::of(&matches).unwrap_or_else(|e| e.format(&mut command).exit())
    }

    fn of(matches: &ArgMatches) -> Result<Self, clap::Error> {
        CommandLine::from_arg_matches(matches)
    }
}

/// Settings may stand before a command and behind it.
fn all_settings_everywhere() -> clap::Command {
    CommandLine::command()
        // A thing to do, and not a setting.
        .mut_args(
            |arg| if arg.get_id() == "new_epoch" { arg } else { arg.global(true).help_heading("Settings") },
        )
}

impl Command {
    /// Does it. Answers go to standard output, and what went wrong to standard error.
    pub fn run(self, config: &Config) -> ExitCode {
        let done = match self {
            _ if config.new_epoch => Err("--new-epoch is a command by itself".into()),
            Command::Health => health::ask(config),
            Command::Token(asked) => asked.mint(config),
            Command::Doctor(asked) => return asked.examine(config),
        };
        match done {
            Ok(line) => {
                println!("{line}");
                ExitCode::SUCCESS
            }
            Err(e) => {
                eprintln!("maru: {e}");
                ExitCode::FAILURE
            }
        }
    }
}

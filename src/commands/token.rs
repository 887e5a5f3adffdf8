//! `maru token`: a session for a program, signed with the secret that all pods have.

use clap::Args;
use serde::Serialize;
use uuid::Version;

use crate::{
    clock,
    config::Config,
    event::{Name, User, UserId, UserKind},
    identity::{Seal, Session},
};

const DAY: u64 = 24 * 60 * 60;

/// Whose session, and for how long.
#[derive(Debug, Args)]
pub struct Asked {
    /// By which name the program is known, 1 to 32 characters
    #[arg(long)]
    name: Name,

    /// Id of the user that it is, of an earlier token: the same person again, who may edit and delete what they said. A
    /// new one if not given
    #[arg(long, value_name = "UUID", value_parser = guest)]
    user: Option<UserId>,

    /// How long the token is good
    #[arg(long, default_value_t = 30, value_name = "DAYS", value_parser = clap::value_parser!(u64).range(1..=3650))]
    days: u64,

    /// Print what POST /api/session answers: {"user": …, "token": …, "expires_at": …}, in ms since 1970
    #[arg(long)]
    json: bool,
}

/// As `POST /api/session` answers.
#[derive(Serialize)]
struct Answer<'a> {
    user: &'a User,
    token: &'a str,
    expires_at: u64,
}

/// The id of somebody whom no site knows: those whom one does have ids of their own kind, and come with its tokens.
fn guest(s: &str) -> Result<UserId, String> {
    let id: UserId = s.parse().map_err(|e: crate::event::Refused| e.to_string())?;
    match id.0.get_version() {
        Some(Version::Sha1) => {
            Err("this is the id of one of a site's own people, who come with its tokens".into())
        }
        _ => Ok(id),
    }
}

impl Asked {
    /// The token, or the whole answer.
    pub(super) fn mint(self, config: &Config) -> Result<String, String> {
        config.check()?;
        let secrets = config.secrets().map_err(|e| e.to_string())?.ok_or_else(|| {
            format!(
                "there is no secret to sign with: --secret (MARU_SECRET) is not given, and {} is made by the server \
                 when it first starts",
                config.secret_file().display()
            )
        })?;
        let user =
            User { id: self.user.unwrap_or_else(UserId::random), name: self.name, kind: UserKind::Guest };
        let session = Session::lasting(user, clock::seconds(), self.days * DAY);
        let token = Seal::new(&secrets).session(&session);
        if !self.json {
            return Ok(token);
        }
        let answer = Answer { user: &session.user, token: &token, expires_at: session.expires * 1000 };
        serde_json::to_string(&answer).map_err(|e| e.to_string())
    }
}

//! `maru doctor`: what may be wrong with an installation, before people notice.
//!
//! It changes nothing: it reads settings, asks the servers what they are set to, looks at the machine, and, with
//! `--url`, listens and speaks in a room of its own through everything that stands between. What it finds are
//! sentences, each with what to do about it; none tells a secret.

use std::{process::ExitCode, time::Duration};

use clap::Args;

use crate::{
    client::Site,
    config::{Config, Store, duration},
};

mod clocks;
mod machine;
mod mysql;
mod nats;
mod redis;
mod report;
mod settings;
mod stream;

use report::{Form, Report};

/// How long a server may take for an answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// What to look at besides.
#[derive(Debug, Args)]
pub struct Asked {
    /// Measure also whether what stands between this URL and the server passes streams on as they come, such as
    /// https://chat.example. Says a few words in a room of its own there
    #[arg(long, value_name = "URL")]
    url: Option<Site>,

    /// With --url: then be quiet for so long, such as 90s, and say whether the stream was cut
    #[arg(long, requires = "url", value_name = "TIME", value_parser = duration)]
    wait: Option<Duration>,

    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

impl Asked {
    /// Looks at everything; the exit status is 1 when something failed.
    pub(crate) fn examine(self, config: &Config) -> ExitCode {
        let form = if self.json { Form::Json } else { Form::Text };
        let mut report = Report::new(form, config);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        match runtime {
            Ok(runtime) => runtime.block_on(self.look(config, &mut report)),
            Err(e) => report.fail("machine", format!("it gives no threads or files any more: {e}")),
        }
        report.end()
    }

    async fn look(self, config: &Config, report: &mut Report) {
        settings::examine(config, report);
        machine::examine(config, report);
        if let Ok(Store::Pods { redis, mysql, nats, .. }) = config.store() {
            redis::examine(redis, report).await;
            mysql::examine(mysql, report).await;
            if let Some(nats) = nats {
                nats::examine(nats, config.limits().text, report).await;
            }
        }
        if let Some(site) = &self.url {
            stream::examine(site, self.wait, report).await;
        }
    }
}

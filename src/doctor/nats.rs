//! NATS: what it is, how much it takes at once, and whether what is said there is heard.

use async_nats::Client;
use futures_util::StreamExt;
use tokio::time::timeout;
use uuid::Uuid;

use super::{PATIENCE, report::Report};
use crate::{backplane, event::LogId};

const ABOUT: &str = "nats";
/// A letter becomes six in JSON at worst.
const WORST: usize = 6;
/// Bytes of an event besides its text, at most.
const AROUND: usize = 4 << 10;

/// `text`: bytes that a message may have.
pub(super) async fn examine(url: &str, text: u32, report: &mut Report) {
    let client = match timeout(PATIENCE, connect(url)).await {
        Ok(Ok(client)) => client,
        Ok(Err(e)) => return report.fail(ABOUT, lost(&e)),
        Err(_) => return report.fail(ABOUT, lost(&"it does not answer")),
    };
    let info = client.server_info();
    let tls = if url.starts_with("tls://") || info.tls_required { "over TLS" } else { "without TLS" };
    report.ok(ABOUT, format!("it is version {}, spoken to {tls}", info.version));
    let needed = WORST * text as usize + AROUND;
    if info.max_payload < needed {
        let text =
            format!("max_payload is {} bytes, and an event may have {needed}: raise it", info.max_payload);
        report.warn(ABOUT, text);
    } else {
        report.ok(ABOUT, format!("max_payload is {} bytes", info.max_payload));
    }
    if info.lame_duck_mode {
        report.warn(ABOUT, "it is about to end (lame duck mode)");
    }
    let log = LogId(Uuid::new_v4());
    let mut unheard = Vec::new();
    for subject in [backplane::subject(log), format!("_INBOX.maru.{}", log.0.simple())] {
        if !timeout(PATIENCE, is_heard(&client, &subject)).await.unwrap_or(false) {
            unheard.push(subject.split('.').next().unwrap_or_default().to_owned() + ".>");
        }
    }
    if unheard.is_empty() {
        report.ok(ABOUT, "what is said there is heard");
    } else {
        let text = format!(
            "what is said on {} is not heard: may the user publish and subscribe there?",
            unheard.join(" and ")
        );
        report.fail(ABOUT, text);
    }
}

fn lost(e: &dyn std::fmt::Display) -> String {
    format!(
        "it cannot be spoken to: {e}. Is it running, does --nats lead to it, and are name and password right?"
    )
}

async fn connect(url: &str) -> Result<Client, async_nats::Error> {
    let (address, options) = backplane::nats_address(url)?;
    Ok(options.name("maru doctor").connect(address).await?)
}

async fn is_heard(client: &Client, subject: &str) -> bool {
    let Ok(mut heard) = client.subscribe(subject.to_owned()).await else { return false };
    if client.publish(subject.to_owned(), "maru doctor".into()).await.is_err() {
        return false;
    }
    heard.next().await.is_some()
}

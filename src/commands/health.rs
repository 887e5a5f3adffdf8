//! `maru health`: is the server alive? For containers, in which there is no other program that could ask.

use std::time::{Duration, Instant};

use http_body_util::{BodyExt, Full, Limited};
use hyper::{Request, StatusCode};
use tokio::time::timeout;

use crate::{client::Site, config::Config};

/// How long all of it may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// Bytes that such an answer has at most.
const ANSWER: usize = 1024;

/// Asks the server that the settings are of.
pub(super) fn ask(config: &Config) -> Result<String, String> {
    let site = Site::of(config)?;
    let url = site.url("/healthz");
    let since = Instant::now();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|e| e.to_string())?;
    let asked = runtime.block_on(async {
        timeout(PATIENCE, status(&site))
            .await
            .map_err(|_| format!("no answer within {} s", PATIENCE.as_secs()))?
    });
    match asked {
        Ok(StatusCode::OK) => Ok(format!("{url} is alive, after {} ms", since.elapsed().as_millis())),
        Ok(status) => Err(format!("{url}: it answers {status}")),
        Err(e) => Err(format!("{url}: {e}")),
    }
}

async fn status(site: &Site) -> Result<StatusCode, String> {
    let ask = async {
        let mut connection = site.connect().await?;
        connection.send(Request::get("/healthz").body(Full::default()).map_err(std::io::Error::other)?).await
    };
    let answer = ask.await.map_err(|e: std::io::Error| e.to_string())?;
    let status = answer.status();
    // All of it: an answer that breaks off is none.
    Limited::new(answer.into_body(), ANSWER).collect().await.map_err(|e| e.to_string())?;
    Ok(status)
}

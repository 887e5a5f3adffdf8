//! Prints the text of each message of a stream.

use std::time::Duration;

use eventsource_client::{Client, ClientBuilder, ReconnectOptions, SSE};
use futures_util::StreamExt;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let url = std::env::args().nth(1).ok_or("a URL is missing")?;
    let reconnect = ReconnectOptions::reconnect(true).delay(Duration::from_secs(1)).build();
    let transport = launchdarkly_sdk_transport::HyperTransport::builder().build_http()?;
    let client = ClientBuilder::for_url(&url)?.reconnect(reconnect).build_with_transport(transport);
    let mut events = client.stream();
    while let Some(event) = events.next().await {
        match event {
            Ok(SSE::Event(event)) if event.event_type == "message" => {
                let said: serde_json::Value = serde_json::from_str(&event.data)?;
                println!("{}", said["text"].as_str().ok_or("no text")?);
            }
            Ok(_) => {}
            // It comes back by itself.
            Err(e) => eprintln!("{e}"),
        }
    }
    Ok(())
}

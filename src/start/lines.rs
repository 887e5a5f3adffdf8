//! Lines of the log: as `tracing` writes them, with the id of the request that they are about.
//!
//! Not by a span: one for each request costs more than the request's own way through maru, and nearly none of them ever
//! says anything. So the id is looked for when a line is written.

use std::fmt;

use tracing::{Event, Subscriber};
use tracing_subscriber::{
    fmt::{
        FmtContext, FormatEvent, FormatFields,
        format::{Format, Json, Writer},
    },
    registry::LookupSpan,
};

use crate::http::RequestId;

/// For people: `… request_id=0af7651916cd43dd`.
pub(super) struct TextLines(pub(super) Format);

/// For machines: `{…,"request_id":"0af7651916cd43dd"}`.
pub(super) struct JsonLines(pub(super) Format<Json>);

impl<S, N> FormatEvent<S, N> for TextLines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        ctx: &FmtContext<'_, S, N>,
        mut out: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let Some(id) = RequestId::current() else { return self.0.format_event(ctx, out, event) };
        let mut line = String::new();
        self.0.format_event(ctx, Writer::new(&mut line), event)?;
        writeln!(out, "{} request_id={id}", line.trim_end_matches('\n'))
    }
}

impl<S, N> FormatEvent<S, N> for JsonLines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        ctx: &FmtContext<'_, S, N>,
        mut out: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let Some(id) = RequestId::current() else { return self.0.format_event(ctx, out, event) };
        let mut line = String::new();
        self.0.format_event(ctx, Writer::new(&mut line), event)?;
        let object = line.trim_end_matches('\n').strip_suffix('}').ok_or(fmt::Error)?;
        // It may have quotes in it.
        let id = serde_json::to_string(&id.to_string()).map_err(|_| fmt::Error)?;
        writeln!(out, "{object},\"request_id\":{id}}}")
    }
}

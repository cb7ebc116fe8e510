//! The log: to standard error for people and journals, and as notices to clients that watch.

use std::fmt::{self, Write as _};
use std::io::{self, IsTerminal};
use std::time::SystemTime;

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id};
use tracing::{Event, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, fmt as text};

use super::notices::{LogLine, Notice, Notices};
use crate::cli::LogFormat;

/// Starts logging for the whole process.
///
/// # Errors
/// The filter cannot be read; one sentence says why.
pub(crate) fn start(filter: &str, format: LogFormat, notices: Notices) -> Result<(), String> {
    let filter = EnvFilter::try_new(filter).map_err(|error| format!("--log {filter}: {error}"))?;
    let registry = tracing_subscriber::registry().with(filter).with(NoticeLayer(notices));
    let to_stderr = text::layer().with_writer(io::stderr).with_ansi(io::stderr().is_terminal());
    match format {
        LogFormat::Text => registry.with(to_stderr.with_target(false)).init(),
        LogFormat::Json => registry.with(to_stderr.json()).init(),
    }
    Ok(())
}

/// Makes a notice of each log line.
pub(super) struct NoticeLayer(pub(super) Notices);

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for NoticeLayer {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let mut about = About::default();
        attributes.record(&mut about);
        if let Some(span) = context.span(id) {
            span.extensions_mut().insert(about);
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut line = Line::default();
        event.record(&mut line);
        for span in context.event_scope(event).into_iter().flatten() {
            if let Some(outer) = span.extensions().get::<About>() {
                line.about.inherit(outer);
            }
        }
        self.0.tell(Notice::Log(LogLine {
            at: SystemTime::now(),
            level: *event.metadata().level(),
            target: event.metadata().target(),
            connection: line.about.connection,
            ike_sa: line.about.ike_sa,
            text: line.message + &line.fields,
        }));
    }
}

/// The message and the fields of one event.
#[derive(Default)]
struct Line {
    message: String,
    fields: String,
    about: About,
}

impl Visit for Line {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.about.record_str(field, value);
        let written = match field.name() {
            "message" => write!(self.message, "{value}"),
            name => write!(self.fields, " {name}={value:?}"),
        };
        written.expect("writing to a String does not fail");
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.about.record_debug(field, value);
        let written = match field.name() {
            "message" => write!(self.message, "{value:?}"),
            name => write!(self.fields, " {name}={value:?}"),
        };
        written.expect("writing to a String does not fail");
    }
}

/// What a line or a span is about.
#[derive(Clone, Default)]
struct About {
    connection: Option<String>,
    ike_sa: Option<String>,
}

impl About {
    fn inherit(&mut self, outer: &About) {
        self.connection = self.connection.take().or_else(|| outer.connection.clone());
        self.ike_sa = self.ike_sa.take().or_else(|| outer.ike_sa.clone());
    }
}

impl Visit for About {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.record_debug(field, &format_args!("{value}"));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        match field.name() {
            "connection" => self.connection = Some(format!("{value:?}")),
            "ike_sa" => self.ike_sa = Some(format!("{value:?}")),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_becomes_a_notice_with_what_it_is_about() {
        let notices = Notices::new();
        let subscriber = tracing_subscriber::registry().with(NoticeLayer(notices.clone()));
        tracing::subscriber::with_default(subscriber, || {
            let span = tracing::info_span!("ike_sa", connection = "site", ike_sa = %ike::IkeSaId(3));
            span.in_scope(|| tracing::info!(peer = %"192.0.2.1", "IKE SA is up"));
        });
        let recent = notices.recent_log();
        let Notice::Log(line) = &**recent.first().expect("one line") else { panic!("a log line") };
        assert_eq!(line.text, "IKE SA is up peer=192.0.2.1");
        assert_eq!((line.connection.as_deref(), line.ike_sa.as_deref()), (Some("site"), Some("#3")));
        assert_eq!(line.level, tracing::Level::INFO);
        tracing::subscriber::with_default(
            tracing_subscriber::registry().with(NoticeLayer(notices.clone())),
            || tracing::info!(connection = "site", "IKE SA is down"),
        );
        let recent = notices.recent_log();
        let Notice::Log(line) = &**recent.last().expect("another line") else { panic!("a log line") };
        assert_eq!(line.text, "IKE SA is down connection=\"site\"");
        assert_eq!(line.connection.as_deref(), Some("site"));
    }

    #[test]
    fn a_wrong_filter_is_refused_in_a_sentence() {
        let error = start("ike=loud", LogFormat::Text, Notices::new()).expect_err("no such level");
        assert!(error.starts_with("--log ike=loud: "), "{error}");
    }
}

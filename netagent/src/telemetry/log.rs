// SPDX-License-Identifier: MIT OR Apache-2.0
//! The log on standard error: lines for people, or JSON with fixed names for programs.
//!
//! As JSON every line is one object: `timestamp` (RFC 3339, UTC), `level`, `target` (the module), `message`, and the
//! event's own fields beside them. What a message is about has the same name everywhere: `port`, `error`, `netns`.

use std::io::{self, IsTerminal as _, Write};

use tracing::Subscriber;
use tracing_subscriber::{EnvFilter, filter::ParseError, fmt::MakeWriter};

/// The filter cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("log filter `{filter}`")]
pub struct LogError {
    /// The filter.
    pub filter: String,
    /// What is wrong with it.
    #[source]
    pub source: ParseError,
}

/// Logs what `filter` lets through, from now on.
///
/// # Errors
/// When the filter cannot be read.
pub fn start(filter: &str, json: bool) -> Result<(), LogError> {
    let parse = EnvFilter::try_new(filter);
    let filter = parse.map_err(|source| LogError { filter: filter.to_owned(), source })?;
    let subscriber: Box<dyn Subscriber + Send + Sync> =
        if json { Box::new(as_json(filter, io::stderr)) } else { Box::new(for_people(filter)) };
    // Only a second call in one process could fail, and the first one's log goes on.
    let _ = tracing::subscriber::set_global_default(subscriber);
    Ok(())
}

fn for_people(filter: EnvFilter) -> impl Subscriber + Send + Sync {
    let colours = io::stderr().is_terminal();
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr).with_ansi(colours).finish()
}

fn as_json<W>(filter: EnvFilter, writer: W) -> impl Subscriber + Send + Sync
where
    W: for<'a> MakeWriter<'a, Writer: Write> + Send + Sync + 'static,
{
    tracing_subscriber::fmt()
        .json()
        .flatten_event(true)
        .with_current_span(false)
        .with_span_list(false)
        .with_env_filter(filter)
        .with_writer(writer)
        .finish()
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_line_is_one_object_with_the_names_that_are_promised() {
        let lines = Lines::default();
        let writer = lines.clone();
        let subscriber = as_json(EnvFilter::new("info"), move || writer.clone());
        tracing::subscriber::with_default(subscriber, || {
            tracing::warn!(port = %"7-eth0", error = "a\n\"b\"", n = 3, "pass failed");
            tracing::debug!("not this one");
        });
        let text = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
        let object: serde_json::Value = serde_json::from_str(&text).unwrap();
        let names: Vec<_> = object.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(names, ["error", "level", "message", "n", "port", "target", "timestamp"]);
        assert_eq!((&object["level"], &object["message"]), (&"WARN".into(), &"pass failed".into()));
        assert_eq!((&object["port"], &object["error"]), (&"7-eth0".into(), &"a\n\"b\"".into()));
        assert!(object["target"].as_str().unwrap().starts_with("netagent::telemetry"), "{object}");
        assert!(object["timestamp"].as_str().unwrap().ends_with('Z'), "{object}");
        assert_eq!(text.lines().count(), 1);
    }

    #[test]
    fn a_filter_that_cannot_be_read_is_named() {
        let error = start("netagent=loud", true).unwrap_err();
        assert_eq!(error.to_string(), "log filter `netagent=loud`");
    }
}

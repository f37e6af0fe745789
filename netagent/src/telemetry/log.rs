// SPDX-License-Identifier: MIT OR Apache-2.0
//! The log on standard error: lines for people, or JSON with fixed names for programs.
//!
//! As JSON every line is one object: `timestamp` (RFC 3339, UTC), `level`, `target` (the module), `message`, and the
//! event's own fields beside them. What a message is about has the same name everywhere: `port`, `error`, `netns`.

use std::io::{self, IsTerminal as _, Write};

use tracing::Subscriber;
use tracing_subscriber::{EnvFilter, fmt::MakeWriter};

/// The log that was started.
pub struct Log(Box<dyn Fn(EnvFilter) + Send + Sync>);

impl Log {
    /// Lets through what `filter` does, from now on.
    pub fn set_filter(&self, filter: EnvFilter) {
        (self.0)(filter);
    }
}

/// Logs what `filter` lets through, from now on.
pub fn start(filter: EnvFilter, json: bool) -> Log {
    let (subscriber, log) = if json { as_json(filter, io::stderr) } else { for_people(filter) };
    // Only a second call in one process could fail, and the first one's log goes on.
    let _ = tracing::subscriber::set_global_default(subscriber);
    log
}

type Started = (Box<dyn Subscriber + Send + Sync>, Log);

fn for_people(filter: EnvFilter) -> Started {
    let colours = io::stderr().is_terminal();
    let builder = tracing_subscriber::fmt()
        .with_writer(io::stderr)
        .with_ansi(colours)
        .with_env_filter(filter)
        .with_filter_reloading();
    let handle = builder.reload_handle();
    // Fails only when there is no log any more.
    (Box::new(builder.finish()), Log(Box::new(move |filter| _ = handle.reload(filter))))
}

fn as_json<W>(filter: EnvFilter, writer: W) -> Started
where
    W: for<'a> MakeWriter<'a, Writer: Write> + Send + Sync + 'static,
{
    let builder = tracing_subscriber::fmt()
        .json()
        .flatten_event(true)
        .with_current_span(false)
        .with_span_list(false)
        .with_writer(writer)
        .with_env_filter(filter)
        .with_filter_reloading();
    let handle = builder.reload_handle();
    (Box::new(builder.finish()), Log(Box::new(move |filter| _ = handle.reload(filter))))
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
        let (subscriber, log) = as_json(EnvFilter::new("info"), move || writer.clone());
        tracing::subscriber::with_default(subscriber, || {
            tracing::warn!(port = %"7-eth0", error = "a\n\"b\"", n = 3, "pass failed");
            tracing::debug!("not this one");
            log.set_filter(EnvFilter::new("error"));
            tracing::warn!("nor this one, any more");
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
}

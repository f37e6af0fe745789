// SPDX-License-Identifier: MIT OR Apache-2.0
//! `/metrics` and `/healthz`.

use std::{io, net::SocketAddr, sync::Arc};

use axum::{
    Router,
    http::{StatusCode, header},
    response::{IntoResponse as _, Response},
    routing::get,
};
use prometheus_client::{encoding::text::encode, registry::Registry};
use tokio::net::TcpListener;

use super::{PortSample, metrics::Ports};

const TEXT: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Metrics cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The address cannot be had.
    #[error("listen on {address} for metrics; free it, or name another --metrics")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// Serving ended.
    #[error("serve metrics")]
    Serve(#[source] io::Error),
}

/// Takes the address for metrics and health; who connects waits until they are served.
///
/// # Errors
/// When the address cannot be had.
pub async fn listen(address: SocketAddr) -> Result<TcpListener, TelemetryError> {
    TcpListener::bind(address).await.map_err(|source| TelemetryError::Listen { address, source })
}

/// Serves metrics and health for as long as it is polled. `sample` reads the ports at each scrape.
///
/// # Errors
/// When the listener fails.
pub async fn serve(
    listener: TcpListener,
    sample: impl Fn() -> Vec<PortSample> + Send + Sync + 'static,
) -> Result<(), TelemetryError> {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Ports { sample: Box::new(sample) }));
    let registry = Arc::new(registry);
    let router = Router::new()
        .route("/metrics", get(move || std::future::ready(metrics(&registry))))
        .route("/healthz", get(|| std::future::ready("ok\n")));
    axum::serve(listener, router).await.map_err(TelemetryError::Serve)
}

fn metrics(registry: &Registry) -> Response {
    let mut text = String::new();
    match encode(&mut text, registry) {
        Ok(()) => ([(header::CONTENT_TYPE, TEXT)], text).into_response(),
        Err(e) => (StatusCode::INTERNAL_SERVER_ERROR, e.to_string()).into_response(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_taken_address_is_known_before_anything_is_served() {
        let first = listen("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let address = first.local_addr().unwrap();
        let error = listen(address).await.unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("listen on {address} for metrics; free it, or name another --metrics")
        );
    }
}

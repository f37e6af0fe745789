// SPDX-License-Identifier: MIT OR Apache-2.0
//! `/metrics`, `/healthz` and `/readyz`.

use std::{io, net::SocketAddr, sync::Arc};

use axum::{
    Router,
    http::{StatusCode, header},
    response::{IntoResponse as _, Response},
    routing::get,
};
use tokio::{net::TcpListener, sync::Mutex};

use super::{Health, Sample, scrape};

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

/// Serves metrics and health for as long as it is polled. `sample` reads the node at each scrape; `None` while there is
/// nothing to read yet.
///
/// # Errors
/// When the listener fails.
pub async fn serve<F>(
    listener: TcpListener,
    health: Arc<Health>,
    sample: impl Fn() -> F + Send + Sync + 'static,
) -> Result<(), TelemetryError>
where
    F: Future<Output = Option<Sample>> + Send + 'static,
{
    axum::serve(listener, router(health, sample)).await.map_err(TelemetryError::Serve)
}

fn router<F>(health: Arc<Health>, sample: impl Fn() -> F + Send + Sync + 'static) -> Router
where
    F: Future<Output = Option<Sample>> + Send + 'static,
{
    // One scrape at a time: whoever reaches the address decides how often it is asked, not how much is read at once.
    let sample = Arc::new(Mutex::new(sample));
    let (alive, ready) = (Arc::clone(&health), health);
    Router::new()
        .route(
            "/metrics",
            get(async move || {
                let sample = sample.lock().await;
                metrics(sample().await)
            }),
        )
        .route("/healthz", get(async move || answer(alive.alive())))
        .route("/readyz", get(async move || answer(ready.ready())))
}

fn metrics(sample: Option<Sample>) -> Response {
    let Some(sample) = sample else { return answer(Err("starting".to_owned())) };
    match scrape::text(sample) {
        Ok(text) => ([(header::CONTENT_TYPE, TEXT)], text).into_response(),
        Err(e) => (StatusCode::INTERNAL_SERVER_ERROR, e.to_string()).into_response(),
    }
}

fn answer(healthy: Result<(), String>) -> Response {
    match healthy {
        Ok(()) => "ok\n".into_response(),
        Err(reason) => (StatusCode::SERVICE_UNAVAILABLE, reason + "\n").into_response(),
    }
}

#[cfg(test)]
mod tests {
    use super::{super::Stage, *};
    use axum::{body::Body, http::Request};
    use tower::ServiceExt as _;

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

    #[tokio::test]
    async fn before_it_is_ready_it_says_why_not() {
        let health = Arc::new(Health::default());
        let router = router(Arc::clone(&health), async || None);
        let ask = async |path: &str| {
            let request = Request::get(path).body(Body::empty()).unwrap();
            let response = router.clone().oneshot(request).await.unwrap();
            let status = response.status().as_u16();
            let body = axum::body::to_bytes(response.into_body(), 1024).await.unwrap();
            (status, String::from_utf8(body.to_vec()).unwrap())
        };
        assert_eq!(ask("/healthz").await, (200, "ok\n".into()));
        assert_eq!(ask("/readyz").await, (503, "starting: loading the programs\n".into()));
        assert_eq!(ask("/metrics").await, (503, "starting\n".into()));
        health.enter(Stage::Ready);
        assert_eq!(ask("/readyz").await, (200, "ok\n".into()));
        health.enter(Stage::Stopping);
        assert_eq!(ask("/readyz").await, (503, "stopping\n".into()));
    }
}

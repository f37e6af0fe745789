// SPDX-License-Identifier: MIT OR Apache-2.0
//! The one task that serves every guest of the node: frames from the ring, answers to the taps.

use std::{convert::Infallible, sync::Arc};

use netagent_common::maps::Punted;

use crate::{
    datapath::{DatapathError, PuntRing},
    dhcp::{self, Inbox, Punt},
};

/// Frames that are served before the ring is emptied again. The programs fill it in no less time than these take.
const BATCH: usize = 16;

/// Serves until the ring fails.
///
/// # Errors
/// When the ring cannot be watched any more.
pub async fn serve_punted(
    mut ring: PuntRing,
    service: Arc<dhcp::Service>,
) -> Result<Infallible, DatapathError> {
    let mut inbox = Inbox::default();
    loop {
        ring.drain(|record| put(&mut inbox, &service, record)).await?;
        let mut served = 0;
        while let Some(punt) = inbox.next() {
            service.take(&punt);
            served += 1;
            if served % BATCH == 0 {
                ring.drain_now(|record| put(&mut inbox, &service, record));
                // Guests that speak without end do not keep the thread from other tasks.
                tokio::task::yield_now().await;
            }
        }
    }
}

fn put(inbox: &mut Inbox, service: &dhcp::Service, record: &Punted) {
    if let Some(Err(refused)) = Punt::of(record).map(|punt| inbox.put(punt)) {
        service.refuse(refused.slot);
    }
}

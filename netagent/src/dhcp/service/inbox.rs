// SPDX-License-Identifier: MIT OR Apache-2.0
//! Frames that were taken out of the ring and wait for their turn: a short queue for each port, and the ports in turn.
//!
//! The ring holds some 126 frames of all ports. It is emptied before anybody is answered, so that it has room for who
//! speaks next while others are served; and a guest that floods waits behind itself.

use std::collections::{BTreeMap, VecDeque};

use netagent_common::maps::{MAX_PORTS, PuntKind, Punted};

/// Frames of one port that wait. A boot speaks three protocols.
const PER_PORT: usize = 8;

/// A frame of a guest, of a record that makes sense.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Punt {
    /// The port that it came from.
    pub slot: u32,
    /// Whose server's it is.
    pub kind: PuntKind,
    /// As in [`Punted::tag`].
    pub tag: u32,
    /// The frame, from its Ethernet header on.
    pub frame: Vec<u8>,
}

impl Punt {
    /// What a record says; `None` for one that no program writes.
    pub fn of(record: &Punted) -> Option<Self> {
        let kind = PuntKind::from_u32(record.kind)?;
        let frame = record.frame.get(..usize::try_from(record.len).ok()?)?;
        (record.slot < MAX_PORTS).then(|| Self {
            slot: record.slot,
            kind,
            tag: record.tag,
            frame: frame.to_vec(),
        })
    }
}

/// Frames that wait.
#[derive(Debug, Default)]
pub struct Inbox {
    /// Ports with waiting frames; a queue in here is never empty.
    waiting: BTreeMap<u32, VecDeque<Punt>>,
    /// Whose turn it is. Each port once.
    turns: VecDeque<u32>,
}

impl Inbox {
    /// Takes a frame, or refuses it when so many of its port wait.
    ///
    /// # Errors
    /// The frame that there is no room for.
    pub fn put(&mut self, punt: Punt) -> Result<(), Punt> {
        let queue = self.waiting.entry(punt.slot).or_default();
        if queue.is_empty() {
            self.turns.push_back(punt.slot);
        }
        if queue.len() >= PER_PORT {
            return Err(punt);
        }
        queue.push_back(punt);
        Ok(())
    }
}

/// Takes out the frame whose turn it is. More may be put in at any time.
impl Iterator for Inbox {
    type Item = Punt;

    fn next(&mut self) -> Option<Punt> {
        let slot = self.turns.pop_front()?;
        let queue = self.waiting.get_mut(&slot)?;
        let punt = queue.pop_front();
        if queue.is_empty() {
            self.waiting.remove(&slot);
        } else {
            self.turns.push_back(slot);
        }
        punt
    }
}

#[cfg(test)]
mod tests {
    use bytemuck::Zeroable as _;
    use netagent_common::maps::PUNT_FRAME;

    use super::*;

    fn punt(slot: u32, tag: u32) -> Punt {
        Punt { slot, kind: PuntKind::Dhcpv4, tag, frame: Vec::new() }
    }

    #[test]
    fn a_guest_that_floods_waits_behind_itself() {
        let mut inbox = Inbox::default();
        let refused = (0..1000).filter(|n| inbox.put(punt(7, *n)).is_err()).count();
        assert_eq!(refused, 1000 - PER_PORT);
        inbox.put(punt(8, 0)).unwrap();
        let order: Vec<_> = inbox.by_ref().map(|p| (p.slot, p.tag)).collect();
        assert_eq!(order[..3], [(7, 0), (8, 0), (7, 1)]);
        assert_eq!(order.len(), PER_PORT + 1);
        // Nothing is kept of those who are quiet.
        assert!(inbox.waiting.is_empty() && inbox.turns.is_empty());
        inbox.put(punt(7, 1)).unwrap();
        assert_eq!(inbox.next(), Some(punt(7, 1)));
    }

    #[test]
    fn a_record_that_contradicts_itself_is_no_frame() {
        let mut record = Punted::zeroed();
        (record.slot, record.kind, record.len) = (MAX_PORTS - 1, 1, PUNT_FRAME as u32 + 1);
        assert_eq!(Punt::of(&record).unwrap().frame.len(), PUNT_FRAME + 1);
        for (slot, kind, len) in [(MAX_PORTS, 1, 60), (0, 0, 60), (0, 9, 60), (0, 1, 2049), (0, 1, u32::MAX)]
        {
            (record.slot, record.kind, record.len) = (slot, kind, len);
            assert_eq!(Punt::of(&record), None);
        }
    }
}

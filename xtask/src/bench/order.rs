// SPDX-License-Identifier: MIT OR Apache-2.0
//! Who comes when in a round: an order that changes, so that none always follows the same neighbour.

/// A permutation of `0..count`, another one for each round, the same in every run.
pub(super) fn order(count: usize, round: u32) -> Vec<usize> {
    let mut order: Vec<usize> = (0..count).collect();
    // xorshift64 (Marsaglia 2003): any shuffle will do that does not repeat itself.
    let mut state = 0x9e37_79b9_7f4a_7c15_u64 ^ (u64::from(round) + 1).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    for last in (1..count).rev() {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        let pick = (state % (last as u64 + 1)) as usize;
        order.swap(last, pick);
    }
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_round_has_all_cases_in_another_order() {
        let orders: Vec<_> = (0..8).map(|round| order(24, round)).collect();
        for order in &orders {
            let mut sorted = order.clone();
            sorted.sort_unstable();
            assert_eq!(sorted, (0..24).collect::<Vec<_>>());
        }
        for (at, order) in orders.iter().enumerate() {
            assert!(!orders[..at].contains(order), "round {at} repeats an order");
        }
    }
}

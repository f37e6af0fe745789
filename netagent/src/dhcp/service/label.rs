// SPDX-License-Identifier: MIT OR Apache-2.0
//! The names of exchanges, as in `request -> ack`, taken apart for a metric's labels.

/// What came or was said, and what became of it: of `request -> ack` the words `request` and `ack`.
pub fn message_and_outcome(said: &str) -> (String, String) {
    let (message, outcome) = match said {
        "advertisement" => (said, "sent".to_owned()),
        super::BUSY => ("any", "busy".to_owned()),
        super::LOST => ("any", "lost".to_owned()),
        super::DEFECT => ("any", "defect".to_owned()),
        _ => match (said.split_once(" -> "), said.split_once(' ')) {
            (Some((message, outcome)), _) => (message, outcome.to_owned()),
            // The first server's silences are the only ones without its name.
            (None, Some(("silent", why))) => ("dhcpv4", format!("silent {why}")),
            (None, Some((message, outcome))) => (message, outcome.to_owned()),
            (None, None) => (said, "noted".to_owned()),
        },
    };
    (message.to_owned(), outcome.replace(' ', "_"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_of_name_becomes_a_message_and_an_outcome() {
        for (said, message, outcome) in [
            ("request -> ack", "request", "ack"),
            ("request -> reply not_on_link", "request", "reply_not_on_link"),
            ("release", "release", "noted"),
            ("silent other_client", "dhcpv4", "silent_other_client"),
            ("dhcpv6 silent bad_udp", "dhcpv6", "silent_bad_udp"),
            ("dhcpv4 without lease", "dhcpv4", "without_lease"),
            ("router_solicitation -> advertisement", "router_solicitation", "advertisement"),
            ("router_solicitation put off", "router_solicitation", "put_off"),
            ("too_big -> mtu", "too_big", "mtu"),
            ("advertisement", "advertisement", "sent"),
            ("dropped busy", "any", "busy"),
            ("answer lost", "any", "lost"),
            ("defect", "any", "defect"),
        ] {
            assert_eq!(message_and_outcome(said), (message.to_owned(), outcome.to_owned()), "{said}");
        }
    }
}

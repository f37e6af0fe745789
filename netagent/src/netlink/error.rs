// SPDX-License-Identifier: MIT OR Apache-2.0
//! Netlink errors with the kernel's own words.

use std::{fmt, io};

use rtnetlink::packet_core::ErrorMessage;

/// `NLMSGERR_ATTR_MSG` of include/uapi/linux/netlink.h: the text of an extended acknowledgement.
const ATTR_MSG: u16 = 1;
/// Netlink headers and attributes are padded to this.
const ALIGN: usize = 4;

/// A netlink request that failed.
#[derive(Debug, thiserror::Error)]
pub enum NetlinkError {
    /// The kernel refused.
    #[error("{operation} {object}")]
    Refused {
        /// What was asked.
        operation: &'static str,
        /// Of what.
        object: String,
        /// Its answer.
        #[source]
        source: KernelAnswer,
    },
    /// The kernel did not answer.
    #[error("{operation} {object}: the kernel did not answer")]
    TimedOut {
        /// What was asked.
        operation: &'static str,
        /// Of what.
        object: String,
    },
    /// The socket or the answer was broken.
    #[error("{operation} {object}")]
    Broken {
        /// What was asked.
        operation: &'static str,
        /// Of what.
        object: String,
        /// How.
        #[source]
        source: Box<rtnetlink::Error>,
    },
}

/// An errno and, where the kernel gave one, its explanation.
#[derive(Debug)]
pub struct KernelAnswer {
    errno: i32,
    words: Option<String>,
}

impl std::error::Error for KernelAnswer {}

impl fmt::Display for KernelAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.words {
            Some(words) => write!(f, "{words} ({})", io::Error::from_raw_os_error(self.errno)),
            None => io::Error::from_raw_os_error(self.errno).fmt(f),
        }
    }
}

impl NetlinkError {
    pub(super) fn from_answer(
        operation: &'static str,
        object: &dyn fmt::Display,
        error: rtnetlink::Error,
    ) -> Self {
        let object = object.to_string();
        match error {
            rtnetlink::Error::NetlinkError(message) => {
                Self::Refused { operation, object, source: KernelAnswer::from(&message) }
            }
            other => Self::Broken { operation, object, source: Box::new(other) },
        }
    }

    /// Whether the kernel refused with this errno.
    pub fn is_errno(&self, errno: i32) -> bool {
        matches!(self, Self::Refused { source, .. } if source.errno == errno)
    }

    /// Whether the object, or the device that it belongs to, is not there.
    pub fn is_gone(&self) -> bool {
        self.is_errno(libc::ENODEV) || self.is_errno(libc::ENOENT)
    }
}

impl From<&ErrorMessage> for KernelAnswer {
    fn from(message: &ErrorMessage) -> Self {
        Self { errno: message.raw_code().saturating_neg(), words: explanation(&message.header) }
    }
}

/// Finds the text behind the copy of the request's header that an error carries. The kernel caps the copy to the
/// header alone, or includes the whole request when it is not told to (NETLINK_CAP_ACK).
fn explanation(echo: &[u8]) -> Option<String> {
    const HEADER: usize = 16;
    let total = u32::from_ne_bytes(*echo.first_chunk()?) as usize;
    [HEADER, total].into_iter().find_map(|start| attribute(echo.get(start.next_multiple_of(ALIGN)..)?))
}

fn attribute(mut attributes: &[u8]) -> Option<String> {
    loop {
        let header: [u8; 4] = *attributes.first_chunk()?;
        let length = u16::from_ne_bytes([header[0], header[1]]) as usize;
        let kind = u16::from_ne_bytes([header[2], header[3]]);
        let value = attributes.get(4..length)?;
        if kind == ATTR_MSG {
            let text = value.split(|b| *b == 0).next()?;
            return String::from_utf8(text.to_vec()).ok();
        }
        attributes = attributes.get(length.next_multiple_of(ALIGN)..)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn echo(request: usize, words: &str) -> Vec<u8> {
        let mut echo = vec![0u8; request];
        echo[..4].copy_from_slice(&(request as u32).to_ne_bytes());
        // An attribute that is not the text comes first.
        echo.extend([8, 0, 2, 0, 1, 2, 3, 4]);
        let length = 4 + words.len() as u16 + 1;
        echo.extend(length.to_ne_bytes());
        echo.extend(ATTR_MSG.to_ne_bytes());
        echo.extend(words.as_bytes());
        echo.push(0);
        echo
    }

    #[test]
    fn finds_the_words_behind_a_header_and_behind_a_whole_request() {
        for request in [16, 52] {
            assert_eq!(explanation(&echo(request, "mtu too small")).as_deref(), Some("mtu too small"));
        }
    }

    #[test]
    fn broken_echoes_have_no_words() {
        for broken in [&[][..], &[1, 2, 3], &[16, 0, 0, 0], &[0xff; 64]] {
            assert_eq!(explanation(broken), None);
        }
        // A length of zero would walk for ever.
        let mut zero = vec![0u8; 32];
        zero[0] = 16;
        assert_eq!(explanation(&zero), None);
    }
}

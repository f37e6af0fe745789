// SPDX-License-Identifier: MIT OR Apache-2.0
//! Bytes both ways between two namespaces, each byte compared, and what the receiving kernels thought of the checksums.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream, UdpSocket},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, anyhow, bail};

use crate::{netns::Netns, poll};

/// Generous: the machine may be busy.
const TIMEOUT: Duration = Duration::from_secs(60);
/// A datagram that did not come back by then was lost.
const LOST_AFTER: Duration = Duration::from_secs(5);
const CHUNK: usize = 64 * 1024;

/// Connects from `client` to `address` in `server`; `bytes` go each way at the same time and must come out unchanged.
pub fn tcp(server: &Netns, client: &Netns, address: SocketAddr, bytes: usize) -> Result<()> {
    let listener = server.run_inside(|| TcpListener::bind(address))?.context("cannot listen")?;
    let bound = listener.local_addr().context("a socket without address")?;
    let near = poll::wait_until(&format!("a connection to {bound}"), TIMEOUT, || {
        client.run_inside(|| TcpStream::connect_timeout(&bound, LOST_AFTER)).ok()?.ok()
    })?;
    let (far, _) = listener.accept().context("cannot accept")?;
    thread::scope(|scope| {
        let ways = [(&near, &far, 1u8), (&far, &near, 2)].map(|(from, to, seed)| {
            (scope.spawn(move || write(from, bytes, seed)), scope.spawn(move || read(to, bytes, seed)))
        });
        for (writer, reader) in ways {
            for end in [writer, reader] {
                end.join()
                    .map_err(|_| anyhow!("a thread panicked"))?
                    .with_context(|| format!("TCP to {bound}"))?;
            }
        }
        Ok(())
    })
}

/// Sends one datagram of each of `sizes` from `client` to an echo at `address` in `server`, and takes each back.
pub fn udp(server: &Netns, client: &Netns, address: SocketAddr, sizes: &[usize]) -> Result<()> {
    let echo = server.run_inside(|| UdpSocket::bind(address))?.context("cannot bind")?;
    let bound = echo.local_addr().context("a socket without address")?;
    let any: SocketAddr = match bound {
        SocketAddr::V4(_) => (std::net::Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (std::net::Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let socket = client.run_inside(|| UdpSocket::bind(any))?.context("cannot bind")?;
    socket.connect(bound).with_context(|| format!("cannot reach {bound}"))?;
    for end in [&echo, &socket] {
        end.set_read_timeout(Some(LOST_AFTER)).context("cannot set a timeout")?;
    }
    let mut buffer = vec![0u8; CHUNK];
    for &size in sizes {
        let sent: Vec<u8> = pattern(size as u8).take(size).collect();
        socket.send(&sent).with_context(|| format!("{size} bytes to {bound}"))?;
        let (length, from) =
            echo.recv_from(&mut buffer).with_context(|| format!("{size} bytes did not reach {bound}"))?;
        let there = buffer.get(..length).unwrap_or_default();
        if there != sent {
            bail!("{size} bytes reached {bound} changed");
        }
        echo.send_to(there, from).with_context(|| format!("{size} bytes back from {bound}"))?;
        let length = socket
            .recv(&mut buffer)
            .with_context(|| format!("{size} bytes did not come back from {bound}"))?;
        if buffer.get(..length).unwrap_or_default() != sent {
            bail!("{size} bytes came back from {bound} changed");
        }
    }
    Ok(())
}

/// Packets that this namespace's kernel refused for a wrong checksum, over all protocols and both families.
pub fn checksum_errors(netns: &Netns) -> Result<u64> {
    let text = |file| netns.exec_ok(&["cat", file]);
    Ok(checksum_errors_in(&text("/proc/net/snmp")?, &text("/proc/net/snmp6")?))
}

/// As [`checksum_errors`], of the texts of a kernel's `/proc/net/snmp` and `/proc/net/snmp6`.
pub fn checksum_errors_in(snmp: &str, snmp6: &str) -> u64 {
    errors_v4(snmp) + errors_v6(snmp6)
}

/// Pairs of lines, names and numbers.
fn errors_v4(text: &str) -> u64 {
    let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
    lines
        .chunks_exact(2)
        .flat_map(|pair| match pair {
            [names, numbers] => names.iter().zip(numbers).collect::<Vec<_>>(),
            _ => Vec::new(),
        })
        .filter(|(name, _)| name.ends_with("CsumErrors"))
        .filter_map(|(_, number)| number.parse::<u64>().ok())
        .sum()
}

/// A name and a number on each line.
fn errors_v6(text: &str) -> u64 {
    text.lines()
        .filter_map(|line| line.split_once(char::is_whitespace))
        .filter(|(name, _)| name.ends_with("CsumErrors"))
        .filter_map(|(_, number)| number.trim().parse::<u64>().ok())
        .sum()
}

/// Bytes that repeat so rarely that a packet in the place of another is noticed.
fn pattern(seed: u8) -> impl Iterator<Item = u8> {
    (0u32..).map(move |n| (n ^ (n >> 8) ^ (n >> 16)) as u8 ^ seed)
}

fn write(mut to: &TcpStream, bytes: usize, seed: u8) -> Result<()> {
    to.set_write_timeout(Some(TIMEOUT)).context("cannot set a timeout")?;
    let all: Vec<u8> = pattern(seed).take(bytes).collect();
    to.write_all(&all).context("cannot write")
}

fn read(mut from: &TcpStream, bytes: usize, seed: u8) -> Result<()> {
    from.set_read_timeout(Some(TIMEOUT)).context("cannot set a timeout")?;
    let mut expected = pattern(seed);
    let mut buffer = vec![0u8; CHUNK];
    let mut left = bytes;
    while left > 0 {
        let room = left.min(CHUNK);
        let length = from.read(buffer.get_mut(..room).unwrap_or_default()).context("cannot read")?;
        if length == 0 {
            bail!("the stream ended {left} bytes early");
        }
        let got = buffer.get(..length).unwrap_or_default();
        if !got.iter().zip(&mut expected).all(|(got, expected)| *got == expected) {
            bail!("bytes after {} changed on the way", bytes - left);
        }
        left -= length;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_what_the_kernel_calls_checksum_errors() {
        let text =
            "Icmp: InMsgs InCsumErrors\nIcmp: 7 2\nUdp: InDatagrams InCsumErrors MemErrors\nUdp: 9 3 1\n";
        assert_eq!(checksum_errors_in(text, ""), 5);
        let text = "Udp6InErrors   \t8\nUdp6InCsumErrors\t4\nIcmp6InCsumErrors  1\n";
        assert_eq!(checksum_errors_in("", text), 5);
    }
}

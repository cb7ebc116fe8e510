//! What a peer that holds the key puts into transport and BEET mode, and the headers that it puts around it.
//!
//! ```text
//!   octet 0      bit 0: transport or BEET; bits 1 and 2: what the socket shows; the others choose a suite
//!   octet 1      the length of the header's options or extension headers
//!   these
//!   the rest     what is to be encrypted, down to the next header
//! ```

use std::net::IpAddr;

use ipsec::{DropReason, Envelope};
use sa::{Family, Handling, Mode, OriginalAddresses, Protocol};
use wire::ip::{Ecn, Flow, Ipv4, Ipv4Header, Ipv6Header, Packet, protocol};

use crate::sas::{INNER, SPI, Sa, Traffic, buffer, esp_suite};

/// Opens a packet; what comes out of it must be a whole IP packet between the right addresses.
pub fn run(input: &[u8]) {
    let [choice, length, rest @ ..] = input else { return };
    let (front, plaintext) = rest.split_at(rest.len().min((*length).into()));
    let original = OriginalAddresses { local: [192, 168, 0, 1].into(), remote: [10, 9, 8, 7].into() };
    let (mode, traffic) = match choice & 1 {
        0 => (Mode::Transport, Traffic::Any),
        _ => (Mode::Beet, Traffic::Hosts),
    };
    let sa = Sa {
        protocol: Protocol::Esp,
        mode,
        protection: esp_suite((choice >> 3).into()),
        handling: Handling { original: Some(original), ..Handling::default() },
        outer: Family::V4,
        traffic,
    };
    match choice >> 1 & 3 {
        0 => open(
            &sa,
            plaintext,
            &Envelope::Datagram {
                source: SOURCE,
                destination: DESTINATION,
                traffic_class: 0b11,
                hop_limit: 3,
            },
        ),
        1 => {
            let header = Ipv6Header {
                dscp: 46,
                ecn: Ecn::Capable0,
                flow_label: 0xabcde,
                payload_length: 0,
                next_header: plaintext.first().copied().unwrap_or(protocol::ESP),
                hop_limit: 7,
                source: "2001:db8::1".parse().expect("an address"),
                destination: "2001:db8::2".parse().expect("an address"),
            };
            open(&sa, plaintext, &Envelope::V6 { header, extensions: front });
        }
        _ => {
            let packet = with_options(front);
            let Ok(view) = Ipv4::new(&packet[..]) else { return };
            open(&sa, plaintext, &Envelope::V4(view));
        }
    }
}

fn open(sa: &Sa, plaintext: &[u8], envelope: &Envelope<'_>) {
    let tables = sa.receiver();
    let receiver = tables.inbound(Protocol::Esp, SPI).expect("it was installed");
    let mut packet = buffer(&sa.seal_evil(plaintext));
    match receiver.open(&mut packet, envelope) {
        Ok(_) => {
            let inner = Packet::new(packet.as_slice()).expect("it was looked at");
            assert_eq!(inner.total_length(), packet.len());
            let flow = Flow::of(packet.as_slice()).expect("it was looked at");
            if sa.mode == Mode::Beet {
                let ends = INNER.map(|address| address.parse::<IpAddr>().expect("an address"));
                assert_eq!([flow.source, flow.destination], ends);
            }
        }
        Err(reason) => {
            assert_ne!(reason, DropReason::Forged);
            assert_eq!(receiver.packets(), 0);
        }
    }
}

/// An IPv4 header with these options, as far as one can have them.
fn with_options(options: &[u8]) -> Vec<u8> {
    let options = &options[..options.len().min(40) / 4 * 4];
    let header = Ipv4Header {
        dscp: 0,
        ecn: Ecn::Capable1,
        total_length: (Ipv4Header::LEN + options.len()) as u16,
        identification: 0,
        dont_fragment: true,
        ttl: 9,
        protocol: protocol::ESP,
        source: [203, 0, 113, 1].into(),
        destination: [203, 0, 113, 2].into(),
    };
    let mut packet = [&header.encode()[..], options].concat();
    packet[0] = 0x40 | (packet.len() / 4) as u8;
    packet
}

const SOURCE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(203, 0, 113, 1));
const DESTINATION: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(203, 0, 113, 2));

//! Which worker takes an ESP or AH packet that comes without UDP: the kernel asks this program, once for each worker.
//!
//! Every raw socket of a protocol would get a copy of every packet. With the filter it gets its share of the SAs: the slot
//! of an SA, in its SPI's low bits, says whose it is, so that the packets of one SA stay in order.

use libc::{
    BPF_ALU, BPF_B, BPF_IMM, BPF_IND, BPF_JEQ, BPF_JGE, BPF_JMP, BPF_K, BPF_LD, BPF_LDX, BPF_LEN, BPF_MOD,
    BPF_MSH, BPF_RET, BPF_SUB, BPF_W, BPF_X,
};
use sa::{Family, Protocol};
use socket2::SockFilter;

/// One worker's share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Share {
    /// Which of the workers it is; the first takes what is too short to have an SPI as well, and counts it.
    pub(crate) index: u32,
    /// How many there are.
    pub(crate) of: u32,
}

/// Writes the program of a worker (bpf(4), "classic"). It sees IPv4 packets from their header on, IPv6 ones from ESP or AH on.
pub(crate) fn program(family: Family, protocol: Protocol, share: Share) -> [SockFilter; 9] {
    let spi = match protocol {
        Protocol::Esp => 0,
        // RFC 4302 §2: next header, length and reserved octets come first.
        Protocol::Ah => 4,
    };
    // X: octets in front of ESP or AH.
    let skip_header = match family {
        Family::V4 => instruction(BPF_LDX | BPF_B | BPF_MSH, 0),
        Family::V6 => instruction(BPF_LDX | BPF_IMM, 0),
    };
    let too_short = if share.index == 0 { ACCEPT } else { DROP };
    [
        skip_header,
        instruction(BPF_LD | BPF_W | BPF_LEN, 0),
        instruction(BPF_ALU | BPF_SUB | BPF_X, 0),
        jump(BPF_JGE, spi + 4, 0, too_short - 4),
        instruction(BPF_LD | BPF_W | BPF_IND, spi),
        instruction(BPF_ALU | BPF_MOD | BPF_K, share.of),
        jump(BPF_JEQ, share.index, 0, DROP - 7),
        instruction(BPF_RET | BPF_K, u32::MAX),
        instruction(BPF_RET | BPF_K, 0),
    ]
}

/// Where the program lets a packet in.
const ACCEPT: u8 = 7;
/// Where it does not.
const DROP: u8 = 8;

fn instruction(code: u32, value: u32) -> SockFilter {
    SockFilter::new(code as u16, 0, 0, value)
}

/// Goes on `met` instructions behind the next one if the condition is met, `unmet` behind it if not.
fn jump(condition: u32, value: u32, met: u8, unmet: u8) -> SockFilter {
    SockFilter::new((BPF_JMP | condition | BPF_K) as u16, met, unmet, value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use socket2::SockRef;
    use std::os::unix::net::UnixDatagram;

    /// Asks the kernel which of the workers' sockets a packet reaches.
    fn takers(family: Family, protocol: Protocol, packet: &[u8], workers: u32) -> Vec<u32> {
        (0..workers)
            .filter(|index| {
                let (sender, receiver) = UnixDatagram::pair().expect("a pair of sockets");
                receiver.set_nonblocking(true).expect("a socket");
                let program = program(family, protocol, Share { index: *index, of: workers });
                SockRef::from(&receiver).attach_filter(&program).expect("a sound program");
                // A datagram that the filter refuses is refused to its sender.
                let _ = sender.send(packet);
                receiver.recv(&mut [0; 100]).is_ok()
            })
            .collect()
    }

    #[test]
    fn each_sa_has_one_taker_and_short_packets_go_to_the_first() {
        let ip_header = |words: u8| [vec![0x40 | words], vec![0; usize::from(words) * 4 - 1]].concat();
        for (family, headers) in [(Family::V4, vec![ip_header(5), ip_header(8)]), (Family::V6, vec![vec![]])]
        {
            for (protocol, front) in [(Protocol::Esp, &[][..]), (Protocol::Ah, &[50, 4, 0, 0])] {
                for header in &headers {
                    for workers in [1, 2, 3] {
                        for spi in [0x0010_0000u32, 0x0010_0001, 0x7cc0_0002, u32::MAX] {
                            let packet = [header, front, &spi.to_be_bytes(), &[0; 8][..]].concat();
                            assert_eq!(takers(family, protocol, &packet, workers), [spi % workers]);
                        }
                        let short = [header, front, &[1, 2, 3][..]].concat();
                        assert_eq!(takers(family, protocol, &short, workers), [0]);
                    }
                }
            }
        }
    }
}

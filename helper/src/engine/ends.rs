//! Why a flow ended, in a user's words, from how it ended in the kernel's.

use sekhmet_common::flow::EndReason;

use super::input::{FlowEnd, FlowKey};

// include/net/tcp_states.h
const TCP_ESTABLISHED: u8 = 1;
const TCP_SYN_SENT: u8 = 2;
const TCP_SYN_RECV: u8 = 3;
const TCP_NEW_SYN_RECV: u8 = 12;

// include/uapi/asm-generic/errno.h; the same on every architecture that Linux desktops use.
const ENETUNREACH: u16 = 101;
const ETIMEDOUT: u16 = 110;
const ECONNREFUSED: u16 = 111;
const EHOSTDOWN: u16 = 112;
const EHOSTUNREACH: u16 = 113;

/// Names the reason. `owner_exited` says whether the process had ended before.
pub(super) fn reason(key: &FlowKey, end: FlowEnd, owner_exited: bool) -> EndReason {
    match (end, key) {
        (FlowEnd::Tcp { from, error }, _) => tcp_reason(from, error),
        (FlowEnd::Released | FlowEnd::Vanished, _) if owner_exited => EndReason::Exited,
        (FlowEnd::Released, _) | (FlowEnd::Vanished, FlowKey::Stream { .. }) => EndReason::Closed,
        (FlowEnd::Quiet, _) | (FlowEnd::Vanished, FlowKey::Datagram { .. }) => EndReason::Aged,
    }
}

fn tcp_reason(from: u8, error: u16) -> EndReason {
    match (from, error) {
        (TCP_SYN_SENT, ECONNREFUSED) => EndReason::Refused,
        // A router that says "unreachable" is not the remote side: nobody there answered.
        (TCP_SYN_SENT, ENETUNREACH | EHOSTUNREACH | EHOSTDOWN) | (_, ETIMEDOUT) => EndReason::TimedOut,
        // ECONNRESET, EPIPE, ECONNABORTED, and what an administrator's `ss -K` leaves.
        (_, 1..) => EndReason::Reset,
        // The program closed with SO_LINGER 0 or with unread data: a reset was sent, no FIN.
        (TCP_ESTABLISHED | TCP_SYN_RECV | TCP_NEW_SYN_RECV, 0) => EndReason::Reset,
        // SYN_SENT: the program gave up. Any other state: FINs were exchanged.
        (_, 0) => EndReason::Closed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_s_words_become_reasons() {
        let stream = FlowKey::Stream { cookie: 1 };
        for (from, error, expected) in [
            (2, 111, EndReason::Refused),
            (2, 110, EndReason::TimedOut),
            (2, 113, EndReason::TimedOut),
            (2, 0, EndReason::Closed),
            (1, 110, EndReason::TimedOut),
            (1, 104, EndReason::Reset),
            (8, 32, EndReason::Reset),
            (1, 0, EndReason::Reset),
            (4, 0, EndReason::Closed),
            (5, 0, EndReason::Closed),
            (9, 0, EndReason::Closed),
        ] {
            let end = FlowEnd::Tcp { from, error };
            assert_eq!(reason(&stream, end, true), expected, "from {from} with error {error}");
        }
        assert_eq!(reason(&stream, FlowEnd::Released, false), EndReason::Closed);
        assert_eq!(reason(&stream, FlowEnd::Released, true), EndReason::Exited);
        assert_eq!(reason(&stream, FlowEnd::Vanished, false), EndReason::Closed);
    }
}

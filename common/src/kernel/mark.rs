//! The layout of the mark by which the kernel programs tell the firewall what to do with a socket's packets.
//!
//! The kernel programs decide *whose* traffic is refused and write a mark on the socket (`SO_MARK`); the
//! firewall's table acts on marks alone and never learns who that is. Both sides read the layout here.
//!
//! ```text
//!  31      24  23  22  21  20  19                  0
//! +----------+---+---+---+---+----------------------+
//! |   0x5e   | L | S | I | O |     rule number      |
//! +----------+---+---+---+---+----------------------+
//! ```
//!
//! The upper byte lies apart from the marks of wg-quick (0xca6c), Mullvad (0x6d6f6c65), Tailscale (mask
//! 0xff0000), kube-proxy (0x4000, 0x8000) and Cilium (0x0f00). A program's own mark is kept by whoever sets
//! this one, and comes back afterwards.

/// The bits that say whether a mark is ours.
pub const KIND_MASK: u32 = 0xff00_0000;
/// What stands in [`KIND_MASK`] when the socket's traffic is refused.
pub const REFUSED: u32 = 0x5e00_0000;
/// L: also traffic that stays on this machine. Without it loopback is free, but for port 53: a resolver on
/// this machine would carry the question outside.
pub const LOCAL_TOO: u32 = 1 << 23;
/// S: drop without a word; else the sender is told at once.
pub const SILENT: u32 = 1 << 22;
/// I: what others send is let in, the rule is for outbound traffic only.
pub const INBOUND_FREE: u32 = 1 << 21;
/// O: what the socket sends is let out, the rule is for inbound traffic only.
pub const OUTBOUND_FREE: u32 = 1 << 20;
/// The bits of the rule's number.
pub const RULE_MASK: u32 = 0x000f_ffff;
/// The highest number that a rule may have in a mark; the lowest is 1.
pub const RULE_MAX: u32 = RULE_MASK;

/// A mark that says "refused"; see the [module](self) for its bits.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Mark(u32);

impl Mark {
    /// A mark for the rule of this number, with any of [`LOCAL_TOO`], [`SILENT`], [`INBOUND_FREE`] and
    /// [`OUTBOUND_FREE`].
    ///
    /// Nothing if the number is 0 or above [`RULE_MAX`], if `flags` has other bits, or if both directions
    /// would be free: such a rule refuses nothing.
    pub const fn refused(rule: u32, flags: u32) -> Option<Self> {
        let both = INBOUND_FREE | OUTBOUND_FREE;
        let known = LOCAL_TOO | SILENT | both;
        if rule == 0 || rule > RULE_MAX || flags & !known != 0 || flags & both == both {
            return None;
        }
        Some(Self(REFUSED | flags | rule))
    }

    /// The mark in these bits of a socket or packet; nothing if they are somebody else's.
    pub const fn from_bits(bits: u32) -> Option<Self> {
        if bits & KIND_MASK == REFUSED { Some(Self(bits)) } else { None }
    }

    /// As `SO_MARK` takes it.
    pub const fn bits(self) -> u32 {
        self.0
    }

    /// The rule's number; 0 in a mark that another program made to look like ours.
    pub const fn rule(self) -> u32 {
        self.0 & RULE_MASK
    }

    /// Whether all of these flags are set.
    pub const fn has(self, flags: u32) -> bool {
        self.0 & flags == flags
    }
}

/// The fields cover the whole mark, and none lies upon another.
const _: () = {
    let flags = [LOCAL_TOO, SILENT, INBOUND_FREE, OUTBOUND_FREE];
    let (mut seen, mut index) = (KIND_MASK | RULE_MASK, 0);
    assert!(KIND_MASK & RULE_MASK == 0 && REFUSED & !KIND_MASK == 0);
    while index < flags.len() {
        assert!(seen & flags[index] == 0);
        seen |= flags[index];
        index += 1;
    }
    assert!(seen == u32::MAX);
};

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_bits_are_those_that_the_table_names() {
        assert_eq!(Mark::refused(1, 0).map(Mark::bits), Some(0x5e00_0001));
        assert_eq!(Mark::refused(1, LOCAL_TOO).map(Mark::bits), Some(0x5e80_0001));
        assert_eq!(Mark::refused(2, SILENT).map(Mark::bits), Some(0x5e40_0002));
        assert_eq!(Mark::refused(3, INBOUND_FREE).map(Mark::bits), Some(0x5e20_0003));
        assert_eq!(Mark::refused(RULE_MAX, OUTBOUND_FREE).map(Mark::bits), Some(0x5e1f_ffff));
    }

    #[test]
    fn a_mark_that_would_mean_nothing_is_not_made() {
        assert_eq!(Mark::refused(0, 0), None);
        assert_eq!(Mark::refused(RULE_MAX + 1, 0), None);
        assert_eq!(Mark::refused(1, INBOUND_FREE | OUTBOUND_FREE), None);
        assert_eq!(Mark::refused(1, 1), None);
    }

    #[test]
    fn the_marks_of_neighbours_are_not_ours() {
        for bits in [0, 0xca6c, 0x6d6f_6c65, 0x00ff_0000, 0xc000, 0x0f00, 1799, 0x5f00_0001, u32::MAX] {
            assert_eq!(Mark::from_bits(bits), None, "{bits:#x}");
        }
    }

    proptest! {
        #[test]
        fn what_is_put_in_comes_out(rule in 1..=RULE_MAX, local: bool, silent: bool, way in 0..3_u32) {
            let direction = [0, INBOUND_FREE, OUTBOUND_FREE][way as usize];
            let flags = if local { LOCAL_TOO } else { 0 } | if silent { SILENT } else { 0 } | direction;
            let mark = Mark::refused(rule, flags).unwrap();
            prop_assert_eq!(Mark::from_bits(mark.bits()), Some(mark));
            prop_assert_eq!(mark.rule(), rule);
            prop_assert_eq!([mark.has(LOCAL_TOO), mark.has(SILENT)], [local, silent]);
            prop_assert_eq!([mark.has(INBOUND_FREE), mark.has(OUTBOUND_FREE)], [way == 1, way == 2]);
        }
    }
}

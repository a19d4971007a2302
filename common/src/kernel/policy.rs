//! Map keys, map values and records about what is refused, and the decisions that follow from a mark alone.
//!
//! A process is bound to rules by number ([`Policy`]); what a rule refuses stands in one slot of a small table
//! ([`RuleSlot`]). A slot that is emptied frees every process and socket that is bound to the rule at that moment,
//! and a binding that is left over means nothing.

use super::{
    Header, ProcessKey, Tuple,
    mark::{INBOUND_FREE, KIND_MASK, LOCAL_TOO, OUTBOUND_FREE, REFUSED},
};

/// Slots for rules: the rule of number `n` can stand in slot `n % RULES_MAX` only.
pub const RULES_MAX: usize = 1024;

/// Rules to which one process, one program or one end of a socket can be bound at a time.
pub const BOUND_MAX: usize = 4;

/// Most processes that are bound to rules at a time.
pub const POLICIES_MAX: usize = 65_536;

/// Most programs that are bound to rules at a time.
pub const PROGRAMS_MAX: usize = 1024;

/// Most different refusals that are counted one by one at a time.
pub const REFUSALS_MAX: usize = 8192;

/// The port of DNS: what goes there is carried outside, also by a resolver on this machine.
pub const DNS_PORT: u16 = 53;

/// One place in the table of rules.
#[repr(C, align(8))]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RuleSlot {
    /// The rule's number, 0 for none. Eight bytes at one address: the kernel copies both halves at once.
    pub number: u32,
    /// What it refuses, see [`super::mark`]; 0 for a rule that rests. Processes stay bound to a resting rule.
    pub mark: u32,
}

/// What every hook looks at first. All zero: nothing is refused to anybody, and the hooks return at once.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Switch {
    /// Rules in the table.
    pub rules: u32,
    /// Programs that are bound to rules.
    pub programs: u32,
    /// Not 0: also connections in the helper's own network namespace are refused where they are asked for. For
    /// machines on which no firewall acts on the marks.
    pub alone: u32,
    /// Twice the number of the walk over open sockets that is under way, or was last; one more while what its first
    /// part has not seen is taken off, see [`SocketPolicy::seen`].
    pub walk: u32,
}

/// Rules to which a process or a program is bound; 0 for none.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// Numbers of rules, in no order.
    pub rules: [u32; BOUND_MAX],
}

/// Names an executable file, wherever it is mounted and whatever it is called.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ProgramKey {
    /// `super_block.s_dev`, in the kernel's own form: on some file systems it is not what stat(2) shows.
    pub device: u32,
    /// Always 0.
    pub reserved: u32,
    /// `inode.i_ino`.
    pub inode: u64,
}

/// What is kept with a socket that is bound to rules (`BPF_MAP_TYPE_SK_STORAGE` with `BPF_F_CLONE`).
///
/// It outlives the process: what a closed socket still has to send is refused as well.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SocketPolicy {
    /// Through the process that owns it.
    pub owner: Policy,
    /// Through another process that holds it, or used it last.
    pub user: Policy,
    /// The mark (`SO_MARK`) that the program had set itself; it comes back.
    pub own_mark: u32,
    /// The number of the walk in which a bound process that does not own it was last seen to hold it. When a later
    /// one has not seen any, `user` is over.
    pub seen: u32,
}

/// One socket that a process holds and whose mark is not what it should be, or that must be closed.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CoverRow {
    /// Who holds it.
    pub holder: ProcessKey,
    /// The socket's cookie.
    pub cookie: u64,
    /// Both ends as far as the socket has them.
    pub tuple: Tuple,
    /// Under which number the holder has it; `u32::MAX` if it was not found through a holder.
    pub fd: u32,
    /// The mark that it has.
    pub mark: u32,
    /// The mark that it should have.
    pub wanted: u32,
    /// Inode number of its network namespace.
    pub net_ns: u32,
    /// What is refused to it, 0 for nothing. In other network namespaces than the helper's no mark says so.
    pub refused: u32,
    /// Address family: 2 for IPv4, 10 for IPv6.
    pub family: u16,
    /// One of [`super::tcp_state`]; other protocols use `ESTABLISHED` for connected and `CLOSE` for not.
    pub state: u8,
    /// `INBOUND` or `OUTBOUND` of [`super::socket_flag`], 0 if nobody saw who began; and [`LENT`].
    pub began: u8,
}

/// Bit of [`CoverRow::began`]: the holder is bound and does not own the socket.
pub const LENT: u8 = 0x80;

/// One open file of the helper itself, as programs are told apart in the kernel.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FileRow {
    /// Which file.
    pub program: ProgramKey,
    /// Its descriptor.
    pub fd: u32,
    /// Always 0.
    pub reserved: u32,
}

/// Bits of [`RefusalKey::flags`].
pub mod refusal_flag {
    /// From outside to this process; else from this process to the outside.
    pub const INBOUND: u8 = 1;
    /// The process asked for it and the firewall is to refuse it; without this bit it has been refused.
    pub const ATTEMPT: u8 = 2;
    /// It stayed on this machine.
    pub const LOCAL: u8 = 4;
}

/// Names what is counted together.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct RefusalKey {
    /// Whose it was.
    pub process: ProcessKey,
    /// The other side's address in network order; IPv4 as `::ffff:a.b.c.d`.
    pub remote: [u8; 16],
    /// The rule's number.
    pub rule: u32,
    /// The other side's port; 0 for protocols without, and for what the other side began: its ports differ.
    pub remote_port: u16,
    /// IP protocol number.
    pub protocol: u8,
    /// Bits of [`refusal_flag`].
    pub flags: u8,
}

/// How often.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RefusalValue {
    /// Packets, or calls for those with [`refusal_flag::ATTEMPT`] and for connections refused when asked for.
    pub count: u64,
    /// The first.
    pub first_ns: u64,
    /// The last.
    pub last_ns: u64,
    /// Inode number of the network namespace.
    pub net_ns: u32,
    /// Always 0.
    pub reserved: u32,
}

/// The first refusal under its key; the others are counted in the map.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RefusedRecord {
    /// Kind [`super::kind::REFUSED`].
    pub header: Header,
    /// What was refused to whom.
    pub key: RefusalKey,
    /// Inode number of the network namespace.
    pub net_ns: u32,
    /// Always 0.
    pub reserved: u32,
}

/// The direction of a flow: who began it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Began {
    /// The other side.
    There,
    /// This side.
    Here,
    /// Nobody saw it. What a rule refuses in one direction is refused then.
    Unknown,
}

/// The mark of two rules that apply together: what either refuses. The number is that of the first one that
/// refuses what the process sends, for that is where the firewall reads it.
#[inline(always)]
pub const fn combine(first: u32, second: u32) -> u32 {
    if first == 0 {
        return second;
    }
    if second == 0 {
        return first;
    }
    let free = INBOUND_FREE | OUTBOUND_FREE;
    let leads = if first & OUTBOUND_FREE != 0 && second & OUTBOUND_FREE == 0 { second } else { first };
    (leads & !(free | LOCAL_TOO)) | (first & second & free) | ((first | second) & LOCAL_TOO)
}

/// Whether a mark refuses traffic of a flow.
///
/// `stays` says that the packet does not leave this machine (it goes through the loopback interface);
/// `remote_port` is 0 for protocols without ports.
#[inline(always)]
pub const fn refuses(mark: u32, stays: bool, remote_port: u16, began: Began) -> bool {
    if mark & KIND_MASK != REFUSED {
        return false;
    }
    if stays && mark & LOCAL_TOO == 0 && remote_port != DNS_PORT {
        return false;
    }
    let free = match began {
        Began::There => INBOUND_FREE,
        Began::Here => OUTBOUND_FREE,
        // Both cannot be free.
        Began::Unknown => return true,
    };
    mark & free == 0
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::kernel::mark::{Mark, RULE_MAX, SILENT};

    fn mark(rule: u32, flags: u32) -> u32 {
        Mark::refused(rule, flags).unwrap().bits()
    }

    #[test]
    fn loopback_is_free_but_for_names() {
        let outside = mark(1, 0);
        assert!(refuses(outside, false, 443, Began::Here));
        assert!(!refuses(outside, true, 443, Began::Here));
        assert!(refuses(outside, true, 53, Began::Here));
        assert!(refuses(mark(1, LOCAL_TOO), true, 443, Began::Here));
        assert!(!refuses(0, false, 53, Began::Here));
        assert!(!refuses(0xca6c, false, 53, Began::Here));
    }

    #[test]
    fn a_free_direction_is_free() {
        let outbound = mark(1, INBOUND_FREE);
        assert!(refuses(outbound, false, 1, Began::Here) && !refuses(outbound, false, 1, Began::There));
        let inbound = mark(1, OUTBOUND_FREE);
        assert!(!refuses(inbound, false, 1, Began::Here) && refuses(inbound, false, 1, Began::There));
        assert!(refuses(outbound, false, 1, Began::Unknown) && refuses(inbound, false, 1, Began::Unknown));
    }

    #[test]
    fn the_number_is_that_of_the_rule_that_refuses_sending() {
        assert_eq!(combine(mark(1, OUTBOUND_FREE), mark(2, INBOUND_FREE)), mark(2, 0));
        assert_eq!(combine(mark(1, 0), mark(2, LOCAL_TOO)), mark(1, LOCAL_TOO));
        assert_eq!(combine(0, mark(2, SILENT)), mark(2, SILENT));
    }

    fn any_mark() -> impl Strategy<Value = u32> {
        (1..=RULE_MAX, any::<bool>(), any::<bool>(), 0..3_u32).prop_map(|(rule, local, silent, way)| {
            let direction = [0, INBOUND_FREE, OUTBOUND_FREE][way as usize];
            mark(rule, if local { LOCAL_TOO } else { 0 } | if silent { SILENT } else { 0 } | direction)
        })
    }

    proptest! {
        /// Two rules together refuse at least what each refuses alone, and are one of the two by number.
        #[test]
        fn together_nothing_gets_freer(a in any_mark(), b in any_mark(), stays: bool, port: u16, way in 0..3_u8) {
            let began = [Began::Here, Began::There, Began::Unknown][way as usize];
            let both = combine(a, b);
            prop_assert!(refuses(both, stays, port, began) || !refuses(a, stays, port, began));
            prop_assert!(refuses(both, stays, port, began) || !refuses(b, stays, port, began));
            let rule = |m: u32| Mark::from_bits(m).unwrap().rule();
            prop_assert!(rule(both) == rule(a) || rule(both) == rule(b));
        }
    }
}

//! The addresses of this network namespace, asked over netlink: the helper may be forbidden to open IP sockets.
#![expect(unsafe_code, reason = "getifaddrs(3) gives a list of C structures")]

use std::{
    collections::HashSet,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

/// Every address of every interface. Empty if the system has no answer: then only loopback counts as this machine.
pub(super) fn addresses() -> HashSet<IpAddr> {
    let mut first: *mut libc::ifaddrs = std::ptr::null_mut();
    // SAFETY: the argument is a place for one pointer.
    if unsafe { libc::getifaddrs(&raw mut first) } != 0 {
        return HashSet::new();
    }
    let mut found = HashSet::new();
    let mut next = first;
    // SAFETY: the list ends with a null pointer and is not changed before it is freed.
    while let Some(entry) = unsafe { next.as_ref() } {
        // SAFETY: an entry's address is null or a socket address of the family that it names.
        found.extend(unsafe { address(entry.ifa_addr) });
        next = entry.ifa_next;
    }
    // SAFETY: this is what getifaddrs gave, once.
    unsafe { libc::freeifaddrs(first) };
    found
}

/// # Safety
/// `address` is null or a whole socket address of the family that it names.
unsafe fn address(address: *const libc::sockaddr) -> Option<IpAddr> {
    // SAFETY: as the caller promises.
    let family = unsafe { address.as_ref() }?.sa_family;
    match i32::from(family) {
        libc::AF_INET => {
            // SAFETY: the family says that it is one.
            let ipv4 = unsafe { address.cast::<libc::sockaddr_in>().read_unaligned() };
            Some(Ipv4Addr::from(ipv4.sin_addr.s_addr.to_ne_bytes()).into())
        }
        libc::AF_INET6 => {
            // SAFETY: the family says that it is one.
            let ipv6 = unsafe { address.cast::<libc::sockaddr_in6>().read_unaligned() };
            Some(Ipv6Addr::from(ipv6.sin6_addr.s6_addr).into())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_is_among_them_and_strangers_are_not() {
        let own = addresses();
        assert!(own.contains(&IpAddr::V4(Ipv4Addr::LOCALHOST)), "{own:?}");
        assert!(!own.contains(&"192.0.2.77".parse().unwrap()));
    }
}

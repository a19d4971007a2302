//! Interfaces of a network namespace, by rtnetlink(7).

use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketType, netlink, recv, sendto, socket};

const NEWLINK: u16 = 16;
const NEWADDR: u16 = 20;
const REQUEST_ACK: u16 = 1 | 4;
/// Create, and fail if it exists.
const CREATE: u16 = 0x600;
const IFF_UP: u32 = 1;
const IFF_NOARP: u32 = 0x80;
const IFLA_IFNAME: u16 = 3;
const IFLA_LINKINFO: u16 = 18;
const IFLA_INFO_KIND: u16 = 1;
const IFLA_INFO_DATA: u16 = 2;
const VETH_INFO_PEER: u16 = 1;
const IFA_LOCAL: u16 = 2;

/// Sets `IFF_UP` on interface 1.
pub(crate) fn loopback_up() {
    assert_eq!(ask(NEWLINK, REQUEST_ACK, &link(1, IFF_UP)), 0, "no loopback interface");
}

/// Makes an interface with the address 192.0.2.1/24 and a cable to nobody. Its errno if the kernel cannot.
pub(crate) fn make_outside() -> Result<(), i32> {
    let mut far_end = vec![0; 16];
    far_end.extend(attribute(IFLA_IFNAME, b"nobody\0"));
    let data = attribute(IFLA_INFO_DATA, &attribute(VETH_INFO_PEER, &far_end));
    let info = [attribute(IFLA_INFO_KIND, b"veth"), data].concat();
    let mut message = link(0, 0);
    message.extend(attribute(IFLA_IFNAME, b"outside\0"));
    message.extend(attribute(IFLA_LINKINFO, &info));
    granted(ask(NEWLINK, REQUEST_ACK | CREATE, &message))?;
    // Nobody answers ARP.
    granted(ask(NEWLINK, REQUEST_ACK, &link(index_of("outside"), IFF_UP | IFF_NOARP)))?;
    granted(ask(NEWLINK, REQUEST_ACK, &link(index_of("nobody"), IFF_UP)))?;
    // struct ifaddrmsg
    let mut message = vec![2, 24, 0, 0];
    message.extend(index_of("outside").to_ne_bytes());
    message.extend(attribute(IFA_LOCAL, &[192, 0, 2, 1]));
    granted(ask(NEWADDR, REQUEST_ACK | CREATE, &message))
}

fn granted(errno: i32) -> Result<(), i32> {
    if errno == 0 { Ok(()) } else { Err(errno) }
}

fn index_of(name: &str) -> i32 {
    let any = socket(AddressFamily::INET, SocketType::DGRAM, None).unwrap();
    rustix::net::netdevice::name_to_index(&any, name).unwrap().cast_signed()
}

/// struct ifinfomsg with these flags set.
fn link(index: i32, flags: u32) -> Vec<u8> {
    let mut message = vec![0; 4];
    message.extend(index.to_ne_bytes());
    message.extend(flags.to_ne_bytes());
    message.extend(flags.to_ne_bytes());
    message
}

fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let mut bytes = (value.len() as u16 + 4).to_ne_bytes().to_vec();
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(value);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

/// Sends one request; gives the errno of its answer, 0 for none.
fn ask(kind: u16, flags: u16, body: &[u8]) -> i32 {
    let mut message = (body.len() as u32 + 16).to_ne_bytes().to_vec();
    message.extend(kind.to_ne_bytes());
    message.extend(flags.to_ne_bytes());
    message.extend([0; 8]);
    message.extend(body);
    let way = socket(AddressFamily::NETLINK, SocketType::RAW, None).unwrap();
    sendto(&way, &message, SendFlags::empty(), &netlink::SocketAddrNetlink::new(0, 0)).unwrap();
    let mut answer = [0; 1024];
    recv(&way, &mut answer, RecvFlags::empty()).unwrap();
    // struct nlmsgerr behind the header: a negative errno.
    -i32::from_ne_bytes(answer[16..20].try_into().unwrap())
}

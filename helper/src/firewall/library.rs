//! libnftables inside this process: one context, four C functions, and the socket that owns the table.
//!
//! The library is opened at run time (`dlopen`) rather than linked. A helper on a machine without nft then
//! still starts and says what it cannot do, and building needs no development package. The ABI is small and
//! has not changed since nftables 0.9.0 gave it a version (`LIBNFTABLES_1`).
#![expect(unsafe_code, reason = "the C functions of libnftables and dlopen")]

use std::{
    ffi::{CStr, CString, c_char, c_int, c_uint, c_void},
    io,
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd},
    ptr::NonNull,
    sync::OnceLock,
    time::Duration,
};

use netlink_sys::{Socket, protocols::NETLINK_NETFILTER};
use rustix::net::{AddressFamily, RecvFlags, recv, sockopt};
use sekhmet_common::display::escape;

use super::{Error, netlink};

/// The library's name since nftables 0.9.0.
const NAME: &CStr = c"libnftables.so.1";

/// `NFT_CTX_OUTPUT_*` (nftables/libnftables.h): no counters in the listing.
const STATELESS: c_uint = 1 << 2;
/// No elements of sets in the listing.
const TERSE: c_uint = 1 << 11;
/// Output is JSON, and so may be the input.
const JSON: c_uint = 1 << 4;
/// Numbers for protocols, priorities and marks; no name services are asked.
const NUMERIC: c_uint = 1 << 7 | 1 << 8 | 1 << 9;

/// For a socket that is only opened and closed again.
const PATIENCE: Duration = Duration::from_secs(1);

/// Descriptors above the first free one that are searched for the context's socket.
const SEARCHED: RawFd = 256;

type New = unsafe extern "C" fn(u32) -> *mut c_void;
type Free = unsafe extern "C" fn(*mut c_void);
type Buffer = unsafe extern "C" fn(*mut c_void) -> c_int;
type Text = unsafe extern "C" fn(*mut c_void) -> *const c_char;
type SetFlags = unsafe extern "C" fn(*mut c_void, c_uint);
type Run = unsafe extern "C" fn(*mut c_void, *const c_char) -> c_int;

#[derive(Clone, Copy)]
struct Functions {
    new: New,
    free: Free,
    buffer_output: Buffer,
    buffer_error: Buffer,
    output: Text,
    error: Text,
    set_flags: SetFlags,
    run: Run,
}

/// How a command is written and answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// nft's own language, listed without counts and elements. Nothing that the outside world chose may stand
    /// in it.
    Text,
    /// libnftables-json(5), with all counters.
    Json,
}

/// One context, kept for life: its socket owns the table.
pub(super) struct Library {
    functions: Functions,
    context: NonNull<c_void>,
    socket: RawFd,
}

// SAFETY: a context belongs to no thread. It is used through `&mut self` only, and what the library keeps for
// the whole process is guarded by [`netlink::guard`].
unsafe impl Send for Library {}

impl Library {
    /// Opens the library and makes a context for the network namespace of this thread.
    ///
    /// # Errors
    /// [`Error::Library`] without libnftables, [`Error::Netlink`] where the kernel has no nfnetlink.
    pub(super) fn open() -> Result<Self, Error> {
        // The library ends the whole process if it gets no socket (`netlink_init_error()`): ask beforehand.
        drop(netlink::socket(PATIENCE).map_err(Error::Netlink)?);
        let functions = functions()?;
        let guard = netlink::guard();
        let before = cookies()?;
        // SAFETY: NFT_CTX_DEFAULT (0) is the only flag there is; the result is checked.
        let context = NonNull::new(unsafe { (functions.new)(0) })
            .ok_or_else(|| Error::Library("no memory for a context".to_owned()))?;
        // SAFETY: the context is live. Unbuffered, the library would write to our standard output.
        let buffered = unsafe {
            (functions.buffer_output)(context.as_ptr()) | (functions.buffer_error)(context.as_ptr())
        };
        let after = cookies();
        // What returns early from here on frees the context, which takes the guard, too.
        drop(guard);
        let mut library = Self { functions, context, socket: -1 };
        if buffered != 0 {
            return Err(Error::Library("no memory for its buffers".to_owned()));
        }
        let known = |cookie: &u64| before.iter().any(|(_, known)| known == cookie);
        let new: Vec<RawFd> =
            after?.into_iter().filter(|(_, cookie)| !known(cookie)).map(|(fd, _)| fd).collect();
        let [socket] = new[..] else {
            return Err(Error::Library(format!("{} new sockets instead of one", new.len())));
        };
        library.socket = socket;
        Ok(library)
    }

    /// Runs commands as one transaction and gives what they print.
    ///
    /// # Errors
    /// [`Error::Refused`] with the library's words, made safe to show.
    pub(super) fn run(&mut self, form: Form, commands: &str) -> Result<String, Error> {
        let commands =
            CString::new(commands).map_err(|_nul| Error::Refused("NUL in a command".to_owned()))?;
        let flags = match form {
            Form::Text => NUMERIC | STATELESS | TERSE,
            Form::Json => NUMERIC | JSON,
        };
        let context = self.context.as_ptr();
        let _guard = netlink::guard();
        // SAFETY: the context is live and used by nobody else; the commands end with NUL and outlive the call.
        let status = unsafe {
            (self.functions.set_flags)(context, flags);
            (self.functions.run)(context, commands.as_ptr())
        };
        // SAFETY: both buffers were set up by `open`, end with NUL, and live until the next command.
        let (output, error) =
            unsafe { (copy((self.functions.output)(context)), copy((self.functions.error)(context))) };
        if status != 0 {
            return Err(Error::Refused(escape(error.trim_ascii())));
        }
        String::from_utf8(output).map_err(|_not_utf8| Error::Unreadable("not UTF-8".to_owned()))
    }

    /// The context's netlink socket: the owner of the table, for the service manager's descriptor store.
    pub(super) fn socket(&self) -> BorrowedFd<'_> {
        // SAFETY: the context keeps this descriptor open for as long as it lives (it never opens another one
        // since 0.9.9, the first version that knows about owners), and `self` is borrowed.
        unsafe { BorrowedFd::borrow_raw(self.socket) }
    }

    /// The socket's port id, by which the kernel names the owner of a table (netlink(7)).
    ///
    /// # Errors
    /// [`Error::Netlink`] if the kernel does not say.
    pub(super) fn port(&self) -> Result<u32, Error> {
        // SAFETY: all zero is an address of family AF_UNSPEC.
        let mut address: libc::sockaddr_nl = unsafe { std::mem::zeroed() };
        let mut length = libc::socklen_t::try_from(size_of::<libc::sockaddr_nl>()).unwrap_or(0);
        // SAFETY: address and length are live for the call, and the length is that of the address.
        let result = unsafe { libc::getsockname(self.socket, (&raw mut address).cast(), &raw mut length) };
        if result < 0 { Err(Error::Netlink(io::Error::last_os_error())) } else { Ok(address.nl_pid) }
    }

    /// Puts a socket from before a restart in the place of the context's own, and with it the ownership.
    ///
    /// The library reads answers by sequence number and never asks for its port id (it leaves binding to the
    /// kernel), so it does not notice. What the previous owner left unread is thrown away.
    ///
    /// # Errors
    /// [`Error::Netlink`] if that is no nfnetlink socket.
    pub(super) fn adopt(&mut self, stored: &OwnedFd) -> Result<(), Error> {
        if !is_netfilter(stored.as_fd()) {
            return Err(Error::Netlink(io::Error::from_raw_os_error(libc::EPROTOTYPE)));
        }
        while recv(stored, &mut [0_u8; 64], RecvFlags::DONTWAIT).is_ok() {}
        // SAFETY: the place is the context's, which keeps a number only; dup3 closes what was there, and what
        // is there afterwards is closed by the context.
        let result = unsafe { libc::dup3(stored.as_raw_fd(), self.socket, libc::O_CLOEXEC) };
        if result < 0 { Err(Error::Netlink(io::Error::last_os_error())) } else { Ok(()) }
    }
}

impl Drop for Library {
    fn drop(&mut self) {
        let _guard = netlink::guard();
        // SAFETY: the context is live, and nobody uses it afterwards.
        unsafe { (self.functions.free)(self.context.as_ptr()) }
    }
}

impl std::fmt::Debug for Library {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Library").field("socket", &self.socket).finish_non_exhaustive()
    }
}

/// Opens the library once; it stays open.
fn functions() -> Result<Functions, Error> {
    static OPENED: OnceLock<Result<Functions, String>> = OnceLock::new();
    OPENED.get_or_init(open).clone().map_err(Error::Library)
}

fn open() -> Result<Functions, String> {
    // SAFETY: the name ends with NUL. The library's constructors do nothing but set up its own state.
    let handle = unsafe { libc::dlopen(NAME.as_ptr(), libc::RTLD_NOW | libc::RTLD_LOCAL) };
    let handle = NonNull::new(handle).ok_or_else(why)?;
    // SAFETY: the types are those of nftables/libnftables.h, unchanged since version 1 of its symbols.
    // `nft_ctx_output_set_flags` returns the old flags since 1.0.9; leaving a result in its register is fine.
    unsafe {
        Ok(Functions {
            new: std::mem::transmute::<*mut c_void, New>(symbol(handle, c"nft_ctx_new")?),
            free: std::mem::transmute::<*mut c_void, Free>(symbol(handle, c"nft_ctx_free")?),
            buffer_output: std::mem::transmute::<*mut c_void, Buffer>(symbol(
                handle,
                c"nft_ctx_buffer_output",
            )?),
            buffer_error: std::mem::transmute::<*mut c_void, Buffer>(symbol(
                handle,
                c"nft_ctx_buffer_error",
            )?),
            output: std::mem::transmute::<*mut c_void, Text>(symbol(handle, c"nft_ctx_get_output_buffer")?),
            error: std::mem::transmute::<*mut c_void, Text>(symbol(handle, c"nft_ctx_get_error_buffer")?),
            set_flags: std::mem::transmute::<*mut c_void, SetFlags>(symbol(
                handle,
                c"nft_ctx_output_set_flags",
            )?),
            run: std::mem::transmute::<*mut c_void, Run>(symbol(handle, c"nft_run_cmd_from_buffer")?),
        })
    }
}

fn symbol(handle: NonNull<c_void>, name: &CStr) -> Result<*mut c_void, String> {
    // SAFETY: the handle came from dlopen and is never closed; the name ends with NUL.
    let address = unsafe { libc::dlsym(handle.as_ptr(), name.as_ptr()) };
    if address.is_null() { Err(why()) } else { Ok(address) }
}

/// What the loader says about the last failure.
fn why() -> String {
    // SAFETY: dlerror gives NULL or a text of this thread that lives until its next call.
    let text = unsafe { copy(libc::dlerror()) };
    escape(&text)
}

/// # Safety
/// `text` is NULL or ends with NUL.
unsafe fn copy(text: *const c_char) -> Vec<u8> {
    if text.is_null() {
        return Vec::new();
    }
    // SAFETY: as the caller promises.
    unsafe { CStr::from_ptr(text) }.to_bytes().to_vec()
}

/// The nfnetlink sockets of this process: descriptors and cookies, as far as a new one may have come in among
/// them. Cookies are never used twice, unlike numbers of descriptors. The guard is held, so that no other
/// nfnetlink socket of ours is opened meanwhile.
///
/// `/proc/self/fd` would list them too, but is closed to a process that has given up root.
fn cookies() -> Result<Vec<(RawFd, u64)>, Error> {
    let probe = Socket::new(NETLINK_NETFILTER).map_err(Error::Netlink)?;
    let end = probe.as_raw_fd().saturating_add(SEARCHED);
    drop(probe);
    let cookie = |fd: RawFd| {
        // SAFETY: asking a number that is no open descriptor for socket options is an error and nothing else,
        // and the borrow ends with the question.
        let borrowed = unsafe { BorrowedFd::borrow_raw(fd) };
        let cookie = is_netfilter(borrowed).then(|| sockopt::socket_cookie(borrowed).ok())??;
        Some((fd, cookie))
    };
    Ok((0..end).filter_map(cookie).collect())
}

fn is_netfilter(fd: BorrowedFd<'_>) -> bool {
    sockopt::socket_domain(fd).is_ok_and(|domain| domain == AddressFamily::NETLINK)
        && sockopt::socket_protocol(fd).is_ok_and(|protocol| {
            protocol.is_some_and(|p| u32::try_from(NETLINK_NETFILTER).is_ok_and(|n| p.as_raw().get() == n))
        })
}

//! Files that io_uring was asked to open: counted where nothing better sees them.

use aya_ebpf::programs::BtfTracePointContext;
use sekhmet_common::kernel::stat;

use super::opening::prepare;
use crate::{
    maps::{STATS, bump},
    offsets::*,
};

/// `IORING_OP_OPENAT`.
const OPENAT: u8 = 18;
/// `IORING_OP_OPENAT2`.
const OPENAT2: u8 = 28;

/// `io_uring_submit_req(struct io_kiocb *req)`, or `io_uring_submit_sqe` with more arguments behind it.
#[inline(always)]
pub fn submit(ctx: &BtfTracePointContext) -> i32 {
    let request: *const u8 = ctx.arg(0);
    let code: u8 = unsafe { read(request, &IO_OPCODE) };
    if (code == OPENAT || code == OPENAT2) && prepare().is_some() {
        bump(&STATS, stat::FILE_URING);
    }
    0
}

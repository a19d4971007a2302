//! One access, wherever it was seen: is it to be told, and with which paths.

use core::ptr::{read_volatile, write_volatile};

use sekhmet_common::kernel::{FileScratch, Sieve, file_state, operation, stat};

use super::{
    Place, Walk, asked, folder_of_task, link, opened_file,
    record::{complete, emit, key},
    sieve, walk,
};
use crate::{
    maps::{SCRATCH, SIEVE, STATS, bump},
    offsets::*,
};

/// `AT_FDCWD`.
pub const WORKING_FOLDER: i32 = -100;
/// `O_TRUNC`, the same on x86, arm64 and riscv.
const O_TRUNC: u32 = 0x200;

const NOWHERE: Place = Place { mount: 0, entry: 0 };

/// What a program asked for.
pub struct Call {
    /// The descriptor of the folder from which a relative path begins.
    pub folder: i32,
    /// Where the path is.
    pub path: u64,
    /// `O_*` of open(2).
    pub flags: u32,
    /// Whether also an absolute path begins in that folder.
    pub in_root: bool,
}

/// The names that are looked for, and room to work; nothing if no name is.
#[inline(always)]
pub fn prepare() -> Option<(*const Sieve, *mut FileScratch)> {
    let names = SIEVE.get_ptr(0)?;
    if unsafe { read_volatile(&raw const (*names).names) } == 0 {
        return None;
    }
    Some((names, SCRATCH.get_ptr_mut(0)?))
}

/// A file was opened, or `error` says why not. `call` tells what was asked for, `copy` copies that path; both are
/// called only where it matters.
///
/// # Safety
/// Both pointers come from [`prepare`].
#[inline(always)]
pub unsafe fn tell(
    names: *const Sieve,
    scratch: *mut FileScratch,
    file: u64,
    error: u32,
    call: impl Fn() -> Call,
    copy: impl Fn(*mut FileScratch, u64) -> bool,
) {
    unsafe {
        let mut walk = Walk { names, scratch };
        let is_wanted = if error == 0 {
            sieve::begin(scratch);
            start_from(scratch, file, probe(file as *const u8, &FILE_PATH));
            put(scratch, operation::OPEN, file_state::RESOLVED, 0, 0);
            walk::hold(&mut walk);
            let inode = || probe(read_volatile(&raw const (*scratch).file) as *const u8, &FILE_INODE);
            sieve::is_wanted(scratch) || link::is_known(names, inode)
        } else {
            is_wanted_as_asked(&mut walk, operation::OPEN, error, &call(), &copy)
        };
        if !is_wanted {
            return;
        }
        // The ways of both cases meet here, for the verifier walks to the end on each.
        if read_volatile(&raw const (*scratch).record.state) & file_state::RESOLVED != 0 {
            ask(scratch, &call(), copy);
        }
        finish(&mut walk);
    }
}

/// Something else was done by path, or failed: all that is known is what was asked for.
///
/// # Safety
/// As [`tell`].
#[inline(always)]
pub unsafe fn tell_asked(
    names: *const Sieve,
    scratch: *mut FileScratch,
    operation: u32,
    error: u32,
    call: &Call,
    copy: impl Fn(*mut FileScratch, u64) -> bool,
) {
    unsafe {
        let mut walk = Walk { names, scratch };
        if is_wanted_as_asked(&mut walk, operation, error, call, &copy) {
            finish(&mut walk);
        }
    }
}

/// Whether the path that was asked for, or the one to the folder from which it begins, has a name that is looked for.
#[inline(always)]
unsafe fn is_wanted_as_asked(
    walk: &mut Walk,
    operation: u32,
    error: u32,
    call: &Call,
    copy: &impl Fn(*mut FileScratch, u64) -> bool,
) -> bool {
    unsafe {
        let scratch = walk.scratch;
        if !copy(scratch, call.path) {
            bump(&STATS, stat::FILE_UNREADABLE);
            return false;
        }
        sieve::begin(scratch);
        let is_absolute = read_volatile((&raw const (*scratch).text).cast::<u8>()) == b'/';
        start_from(scratch, 0, if is_absolute && !call.in_root { NOWHERE } else { folder(call.folder) });
        let state = file_state::ASKED | if call.in_root { file_state::IN_ROOT } else { 0 };
        // Before the loops: what is in memory the verifier does not go through them with again for every value.
        put(scratch, operation, state, call.flags, error);
        let is_too_long = asked::hold(walk);
        if has_place(scratch) {
            walk::hold(walk);
        }
        is_too_long | sieve::is_wanted(scratch)
    }
}

/// What the record says besides the paths.
#[inline(always)]
unsafe fn put(scratch: *mut FileScratch, operation: u32, state: u32, flags: u32, error: u32) {
    unsafe {
        let record = &raw mut (*scratch).record;
        write_volatile(&raw mut (*record).operation, operation);
        write_volatile(&raw mut (*record).state, state);
        write_volatile(&raw mut (*record).flags, flags);
        write_volatile(&raw mut (*record).error, error);
    }
}

/// Tells it. What was asked for is the scratch's text already.
#[inline(always)]
unsafe fn finish(walk: &mut Walk) {
    unsafe {
        let scratch = walk.scratch;
        let record = &raw mut (*scratch).record;
        write_volatile(&raw mut (*record).asked_length, read_volatile(&raw const (*scratch).end));
        if has_place(scratch) {
            let state = read_volatile(&raw const (*record).state);
            write_volatile(&raw mut (*record).state, state | walk::write_parts(walk));
        }
        complete(scratch, key(read_volatile(&raw const (*scratch).file)));
        emit(record);
    }
}

#[inline(always)]
unsafe fn has_place(scratch: *const FileScratch) -> bool {
    unsafe { read_volatile(&raw const (*scratch).entry) != 0 }
}

/// Where the walk begins.
///
/// # Safety
/// `scratch` is a value of a map.
#[inline(always)]
pub unsafe fn start_from(scratch: *mut FileScratch, file: u64, place: Place) {
    unsafe {
        write_volatile(&raw mut (*scratch).file, file);
        write_volatile(&raw mut (*scratch).mount, place.mount);
        write_volatile(&raw mut (*scratch).entry, place.entry);
    }
}

/// Adds what the program asked for to what it got.
#[inline(always)]
unsafe fn ask(scratch: *mut FileScratch, call: &Call, copy: impl Fn(*mut FileScratch, u64) -> bool) {
    unsafe {
        let file = read_volatile(&raw const (*scratch).file);
        let flags = probe::<u32>(file as *const u8, &FILE_FLAGS);
        // The kernel does not keep this one with the file.
        (*scratch).record.flags = flags | call.flags & O_TRUNC;
        if copy(scratch, call.path) {
            (*scratch).record.state = file_state::RESOLVED | file_state::ASKED;
        } else {
            write_volatile(&raw mut (*scratch).end, 0);
        }
    }
}

/// The place of the folder from which a relative path begins.
#[inline(always)]
unsafe fn folder(number: i32) -> Place {
    unsafe {
        if number == WORKING_FOLDER {
            return folder_of_task(&FS_PWD);
        }
        if number < 0 {
            return NOWHERE;
        }
        let file = opened_file(number as u32);
        if file == 0 { NOWHERE } else { probe(file as *const u8, &FILE_PATH) }
    }
}

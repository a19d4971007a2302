//! The compiled kernel programs, as built into the helper.

/// The ELF object, aligned for the loader. Empty if the helper was built without it.
pub(super) static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/sekhmet.bpf.o"));

//! The compiled kernel programs, as built into the helper.

/// The ELF object, aligned for the loader. Empty if the helper was built without it.
pub(super) static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/sekhmet.bpf.o"));

/// Whether the object writes log lines, as the one for debug builds does.
pub fn has_log() -> bool {
    // The name of aya-log's ring, in the table of symbols.
    OBJECT.windows(8).any(|name| name == b"AYA_LOGS")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_builds_and_only_those_have_the_log() {
        if OBJECT.is_empty() || option_env!("SEKHMET_BPF_OBJECT").is_some() {
            eprintln!("skipped: there is no object, or one was given");
            return;
        }
        assert_eq!(has_log(), cfg!(debug_assertions), "run cargo xtask build");
    }
}

//! Log lines of the kernel programs, in debug builds: they come out of `log`, and so of `tracing`.

use aya::Ebpf;
use aya_log::EbpfLogger;

/// The reading end, if the object was built with log messages.
pub(super) struct KernelLog(Option<EbpfLogger<&'static dyn log::Log>>);

impl KernelLog {
    /// Looks for the log ring; objects of release builds have none.
    pub(super) fn open(ebpf: &mut Ebpf) -> Self {
        if !cfg!(debug_assertions) {
            return Self(None);
        }
        match EbpfLogger::init(ebpf) {
            Ok(logger) => Self(Some(logger)),
            Err(error) => {
                tracing::debug!(%error, "the kernel programs write no log");
                Self(None)
            }
        }
    }

    /// Hands over the lines that have come.
    pub(super) fn flush(&mut self) {
        if let Some(logger) = &mut self.0 {
            logger.flush();
        }
    }
}

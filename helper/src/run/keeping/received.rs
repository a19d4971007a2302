//! The descriptors that the service manager hands to a helper that it starts again.
#![expect(unsafe_code, reason = "descriptors are handed over by number (sd_listen_fds(3))")]

use std::os::fd::{FromRawFd, OwnedFd};

use super::Left;

/// Takes what a former helper left. To be called once, before anything else closes or opens descriptors.
pub(in crate::run) fn receive() -> Left {
    let mut left = Left::default();
    match sd_notify::listen_fds_with_names() {
        Ok(kept) => {
            for (number, name) in kept {
                // SAFETY: the manager's word, meant for this very process (`LISTEN_PID`), is that these are open
                // and ours; they were checked to be open just now, and nothing else took them.
                left.take(&name, unsafe { OwnedFd::from_raw_fd(number) });
            }
        }
        Err(error) => tracing::warn!(%error, "what the service manager kept cannot be taken"),
    }
    left
}

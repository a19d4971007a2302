//! The typed proxy of `org.sekhmet.Helper1.Monitor`.

use std::collections::HashMap;

use zbus::{OwnedFd, OwnedVariant, Variant, proxy};

/// The helper's interface for watching.
#[proxy(
    interface = "org.sekhmet.Helper1.Monitor",
    default_service = "org.sekhmet.Helper1",
    default_path = "/org/sekhmet/Helper1"
)]
pub trait Monitor {
    /// Opens a stream. polkit raises no dialog.
    fn open_event_stream(&self, options: &HashMap<&str, Variant<'_>>) -> zbus::Result<OwnedFd>;

    /// Opens a stream. polkit may ask the person at the screen, which takes as long as it takes.
    #[zbus(name = "OpenEventStream", allow_interactive_auth)]
    fn open_event_stream_interactively(&self, options: &HashMap<&str, Variant<'_>>) -> zbus::Result<OwnedFd>;

    /// The helper's version.
    #[zbus(property(emits_changed_signal = "const"))]
    fn version(&self) -> zbus::Result<String>;

    /// Grows by one with each addition to the bus interfaces.
    #[zbus(property(emits_changed_signal = "const"))]
    fn api_minor(&self) -> zbus::Result<u32>;

    /// `full` or `reduced`.
    #[zbus(property)]
    fn mode(&self) -> zbus::Result<String>;

    /// Sources and counters; the keys are in `sekhmet_common::bus`.
    #[zbus(property(emits_changed_signal = "false"))]
    fn coverage(&self) -> zbus::Result<HashMap<String, OwnedVariant>>;
}

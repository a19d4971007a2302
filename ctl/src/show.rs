//! What the commands show.

pub(crate) mod json;
pub(crate) mod list;
pub(crate) mod record;
pub(crate) mod status;
pub(crate) mod top;
pub(crate) mod watch;

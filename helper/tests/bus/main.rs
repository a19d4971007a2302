//! The bus side of the helper against a real message bus, with a polkit that answers as it is told.

mod authority;
mod hostile;
mod interface;
mod lease;
mod policy;
mod stage;

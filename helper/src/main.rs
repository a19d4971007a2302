//! The helper's process: arguments, rights, threads.

fn main() {}

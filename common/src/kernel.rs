//! The records and map keys that the eBPF programs share with their loader.

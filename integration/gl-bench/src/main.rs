//! Benchmarks of an OCI runtime beside its peers.

fn main() {}

//! OCI runtime command.

fn main() {}

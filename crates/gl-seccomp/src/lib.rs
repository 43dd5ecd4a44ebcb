//! OCI seccomp rules to BPF.

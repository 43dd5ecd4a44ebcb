#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| gl_fuzz::seccomp(data));

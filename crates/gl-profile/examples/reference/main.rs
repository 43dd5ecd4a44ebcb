//! Prints the reference of the profile format: `cargo run -p gl-profile --example reference >
//! docs/profiles-reference.md`.

#![expect(clippy::print_stdout, reason = "the program is there to print")]

mod page;

fn main() {
    print!("{}", page::page(&gl_profile::schema()));
}

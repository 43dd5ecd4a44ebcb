//! Prints the JSON Schema of profiles: `cargo run -p gl-profile --example schema > profiles/schema.json`.

#![expect(clippy::print_stdout, reason = "the program is there to print")]

fn main() {
    print!("{}", gl_profile::schema());
}

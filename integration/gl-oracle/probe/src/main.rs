//! Prints the world that a container's process sees, as one line of JSON.
//!
//!     oracle-probe '{"paths": [PATH, …], "settings": [SYSCTL, …]}'
//!
//! It decides nothing and compares nothing: what it finds is printed, the name of an error where the
//! kernel refuses. What differs from run to run (identities of namespaces, numbers of mounts) is made
//! equal by who reads it.
#![expect(clippy::print_stdout, reason = "what it prints is what it is for")]

mod calls;
mod names;
mod process;
mod tree;
mod verdicts;

use serde_json::{Map, Value};

fn main() {
    let request: Value = std::env::args()
        .nth(1)
        .and_then(|text| serde_json::from_str(&text).ok())
        .unwrap_or(Value::Null);
    let list = |name: &str| -> Vec<String> {
        let words = request[name].as_array().into_iter().flatten();
        words.filter_map(Value::as_str).map(str::to_owned).collect()
    };
    let mut world = Map::new();
    // First, as long as nothing is open but what the runtime left.
    process::sections(&mut world);
    tree::sections(&list("paths"), &list("settings"), &mut world);
    world.insert("verdicts".to_owned(), verdicts::verdicts());
    println!("{}", Value::Object(world));
}

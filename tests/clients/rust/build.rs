//! Takes the example out of docs/clients.md.

use std::{env, fs, path::Path};

fn main() {
    let document = "../../../docs/clients.md";
    println!("cargo::rerun-if-changed={document}");
    let text = fs::read_to_string(document).expect("the document is there");
    let example = text.split("\n```rust\n").nth(1).and_then(|rest| rest.split("\n```\n").next());
    let out = env::var("OUT_DIR").expect("cargo says where");
    fs::write(Path::new(&out).join("chat.rs"), example.expect("there is an example")).expect("it can be written");
}

//! Prints the made-up machine of the tests as a recorded log: `cargo run --example record_scene > scene.jsonl`.

use std::io::{self, BufWriter, Write};

#[path = "../tests/support/scene.rs"]
mod scene;
#[path = "../tests/support/secrets.rs"]
mod secrets;

fn main() -> io::Result<()> {
    let mut out = BufWriter::new(io::stdout().lock());
    for event in secrets::woven_into(scene::events()) {
        let json = sekhmet_common::log::to_json(&event).map_err(io::Error::other)?;
        writeln!(out, "{json}")?;
    }
    out.flush()
}

//! The `tresor` program.
fn main() {}

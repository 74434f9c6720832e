//! tmp
mod changes;
mod reader;
mod session;
fn main() {}

//! wattline
fn main() {}

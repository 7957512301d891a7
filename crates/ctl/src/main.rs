//! holdctl.

fn main() {}

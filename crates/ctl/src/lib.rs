//! holdctl, the operator's command line: everything that a person does with Holdfast by hand.

pub mod files;

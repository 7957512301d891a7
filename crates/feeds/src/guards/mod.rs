//! May this row, this file be believed? Row guards look at one row beside its neighbours, the file gate at the file as a
//! whole beside the last one that was accepted.
//!
//! A guard answers with what is to be done and why, in words for the person who reads the report; it changes nothing.
//! The rules' names (R1, R7 …) are those of the table of row guards in the project's documentation.

pub mod file;
pub mod jump;
pub mod row;
pub mod typed;

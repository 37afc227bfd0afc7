//! A request: refused or named, signed, and what variables show of it.

pub mod asked;
pub mod error_code;
pub mod folder;
pub mod name;
pub mod names;
pub mod object;
pub mod own;
pub mod own_variables;
pub mod refusal;
pub mod sign;
pub mod unsigned;
pub mod variables;
pub mod wait;

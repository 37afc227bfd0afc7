//! A client of HTTP/1.1.
pub mod chunked;
pub mod response;
pub mod wiped;

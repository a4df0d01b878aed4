//! The library that programs use.

//! A SAN in a box.

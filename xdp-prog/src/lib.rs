//! The layout of the XDP program's maps, and the built program.

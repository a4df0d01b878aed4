//! Conversations with a SAN over a memory port, checked field by field.

mod fabric;
mod host;
mod io;

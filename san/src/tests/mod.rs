//! Conversations with a SAN over a memory port, checked field by field.

mod control;
mod fabric;
mod faults;
mod garbage;
mod host;
mod io;
mod refusals;
mod retransmission;
mod services;
mod sharing;
mod vn2vn;

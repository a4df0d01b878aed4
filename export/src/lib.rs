//! What a disk is to those it is handed to.

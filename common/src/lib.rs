//! What every side of Sekhmet means by a word.
#![cfg_attr(not(feature = "user"), no_std)]

pub mod kernel;

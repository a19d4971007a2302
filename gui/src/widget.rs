//! The parts that views are made of; each is told its place and what to show.

pub mod badge;
pub mod button;
pub mod cell;
pub mod paint;
pub mod sparkline;
pub mod strip;

//! Test bus, generators and players shared by the tests of Sekhmet.

pub mod agent;
pub mod bus;
pub mod namespace;
pub mod player;
pub mod polkit;
pub mod traffic;

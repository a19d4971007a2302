//! Test bus, generators and players shared by the tests of Sekhmet.

pub mod namespace;
pub mod traffic;

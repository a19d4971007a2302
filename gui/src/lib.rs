//! The window of Sekhmet: shows in real time which program talks to whom.
//!
//! Data comes in through [`link`], becomes rows in [`model`], is drawn by [`view`] with the parts in
//! [`widget`]; what a view asks for is a [`command`], carried out after the frame. Nothing in here has a
//! privilege: the helper does the seeing.

pub mod app;
pub mod command;
pub mod dump;
pub mod evidence;
pub mod icons;
pub mod link;
pub mod model;
pub mod notify;
pub mod preferences;
pub mod preview;
pub mod screenshot;
pub mod settings;
pub mod text;
pub mod theme;
pub mod view;
pub mod widget;

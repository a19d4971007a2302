//! The one owner of state: a pure fold from inputs to effects.

pub mod input;

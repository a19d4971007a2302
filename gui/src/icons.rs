//! The icons in use, by their code points in the Phosphor fonts (version 2.1).

/// A closed branch.
pub const CARET_RIGHT: &str = "\u{e13a}";
/// An open branch.
pub const CARET_DOWN: &str = "\u{e136}";
/// A sort order turned round.
pub const CARET_UP: &str = "\u{e13c}";
/// The lens on everything.
pub const EVERYTHING: &str = "\u{e464}";
/// Applications.
pub const APPLICATIONS: &str = "\u{e5da}";
/// Services.
pub const SERVICES: &str = "\u{e272}";
/// Containers.
pub const CONTAINERS: &str = "\u{e1da}";
/// Users.
pub const USERS: &str = "\u{e4d6}";
/// One user.
pub const USER: &str = "\u{e4c2}";
/// Coverage.
pub const COVERAGE: &str = "\u{e628}";
/// Observing.
pub const OBSERVE: &str = "\u{e220}";
/// Search.
pub const SEARCH: &str = "\u{e30c}";
/// Pause.
pub const PAUSE: &str = "\u{e39e}";
/// Play.
pub const PLAY: &str = "\u{e3d0}";
/// A recording is played.
pub const RECORDING: &str = "\u{e3ee}";
/// All is well.
pub const HEALTHY: &str = "\u{e184}";
/// Something wants a look.
pub const WARNING: &str = "\u{e4e0}";
/// No figure.
pub const NO_DATA: &str = "\u{e32c}";
/// A fact.
pub const INFO: &str = "\u{e2ce}";
/// A check mark.
pub const CHECK: &str = "\u{e182}";
/// The menu.
pub const MENU: &str = "\u{e2f0}";
/// A process.
pub const PROCESS: &str = "\u{e610}";
/// Programs that ended.
pub const EXITED: &str = "\u{e466}";
/// Local traffic.
pub const LOCAL: &str = "\u{e2c2}";
/// A browser, a remote host.
pub const GLOBE: &str = "\u{e288}";
/// A Node.js program, or any other program without an icon.
pub const HEXAGON: &str = "\u{e2ae}";
/// A Python program.
pub const PYTHON: &str = "\u{eb2c}";
/// A program of the terminal.
pub const TERMINAL: &str = "\u{eae8}";
/// A mail program.
pub const MAIL: &str = "\u{e218}";
/// The kernel.
pub const KERNEL: &str = "\u{e610}";
/// The order of rows is held.
pub const HELD: &str = "\u{e3e2}";
/// No helper.
pub const NO_HELPER: &str = "\u{eb56}";
/// Not authorised.
pub const NOT_AUTHORISED: &str = "\u{e2fe}";
/// Nothing yet.
pub const NOTHING: &str = "\u{ea64}";
/// Asks for a password.
pub const ASKS: &str = "\u{e308}";
/// Blocks, and is blocked.
pub const BLOCK: &str = "\u{e3de}";
/// A watched file.
pub const KEY: &str = "\u{e2d6}";
/// What is watched.
pub const WATCHLIST: &str = "\u{eadc}";
/// Opens something in a form.
pub const EDIT: &str = "\u{e3b4}";
/// Adds something.
pub const ADD: &str = "\u{e3d4}";
/// A remote was reached.
pub const REACHED: &str = "\u{eb5a}";
/// Bytes were sent.
pub const SENT: &str = "\u{e08e}";
/// The page of rules.
pub const RULES: &str = "\u{eb7a}";
/// Something was blocked.
pub const DONE: &str = "\u{e40c}";
/// Takes back the last step.
pub const UNDO: &str = "\u{e08a}";
/// Takes a rule away.
pub const REMOVE: &str = "\u{e4a6}";
/// A choice of several, and the one that was made.
pub const RADIO: [&str; 2] = ["\u{e18a}", "\u{eb08}"];
/// A choice by itself, and made.
pub const CHECKBOX: [&str; 2] = ["\u{e45e}", "\u{e186}"];
/// Puts text on the clipboard.
pub const COPY: &str = "\u{e1ca}";
/// The same for programs.
pub const JSON: &str = "\u{e860}";
/// Close.
pub const CLOSE: &str = "\u{e4f6}";
/// The dark theme.
pub const DARK: &str = "\u{e330}";
/// The light theme.
pub const LIGHT: &str = "\u{e472}";
/// The desktop's own theme.
pub const SYSTEM: &str = "\u{e32e}";

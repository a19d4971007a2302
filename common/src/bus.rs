//! Every name on the bus: service, paths, interfaces, polkit actions, options and errors.

/// The application's id: desktop entry, icon, metainfo, window class.
pub const APP_ID: &str = "org.sekhmet.Sekhmet";

/// The helper's well-known name on the system bus.
pub const SERVICE: &str = "org.sekhmet.Helper1";

/// The helper's one object.
pub const PATH: &str = "/org/sekhmet/Helper1";

/// The interface that opens event streams.
pub const MONITOR: &str = "org.sekhmet.Helper1.Monitor";

/// The interface that adds and removes rules.
pub const RULES: &str = "org.sekhmet.Helper1.Rules";

/// The interface that shows and changes the watchlist.
///
/// `Get() → (t revision, aa{sv} entries)`, `Add(t revision, a{sv}) → u id`, `Remove(t revision, u id)`,
/// `Set(t revision, u id, a{sv})`. The revision is that of the list which the caller has seen; if the list has
/// changed since, the answer is [`error::CHANGED`].
pub const WATCHLIST: &str = "org.sekhmet.Helper1.Watchlist";

/// Grows by one with each addition to the bus interfaces.
pub const API_MINOR: u32 = 2;

/// The system user that owns [`SERVICE`].
pub const HELPER_USER: &str = "sekhmet";

/// polkit: live events of the caller's own programs.
pub const ACTION_WATCH_OWN: &str = "org.sekhmet.helper.watch-own";

/// polkit: live events of every user and the system.
pub const ACTION_WATCH_ALL: &str = "org.sekhmet.helper.watch-all";

/// polkit: add a block.
pub const ACTION_BLOCK_ADD: &str = "org.sekhmet.helper.block-add";

/// polkit: remove one block, or all.
pub const ACTION_BLOCK_REMOVE: &str = "org.sekhmet.helper.block-remove";

/// polkit: change what Sekhmet records on this computer, for every user.
pub const ACTION_CONFIGURE: &str = "org.sekhmet.helper.configure";

/// Of an entry of the watchlist: `u`, its id.
pub const ENTRY_ID: &str = "id";

/// Of an entry of the watchlist: `ay`, which files; see `watch::Entry`. `Add` has to be given it.
pub const ENTRY_PATTERN: &str = "pattern";

/// Of an entry of the watchlist: `s`, what these files are.
pub const ENTRY_LABEL: &str = "label";

/// Of an entry of the watchlist: `s`, the heading.
pub const ENTRY_GROUP: &str = "group";

/// Of an entry of the watchlist: `s`, see `watch::Severity`.
pub const ENTRY_SEVERITY: &str = "severity";

/// Of an entry of the watchlist: `aay`, who is expected to read the files.
pub const ENTRY_EXPECTED: &str = "expected";

/// Of an entry of the watchlist: `s`, `default`, `system` or `user`; for `Add`, `user` (the caller's own home) or
/// `system`. Without it: `user` if the pattern begins with `~/`, else `system`.
pub const ENTRY_OWNER: &str = "owner";

/// Of an entry of the watchlist whose owner is a user: `u`, which.
pub const ENTRY_UID: &str = "uid";

/// Of an entry of the watchlist: `b`, whether it is watched at present.
pub const ENTRY_ENABLED: &str = "enabled";

/// Option of `Rules.Add`: `t`, the id of the process to be blocked together with what it starts.
///
/// One of this, [`OPTION_PROGRAM_OF`] and [`OPTION_PROGRAM`] is given.
pub const OPTION_PROCESS: &str = "process";

/// Option of `Rules.Add`: `t`, the id of a process whose program is to be blocked.
pub const OPTION_PROGRAM_OF: &str = "program-of";

/// Option of `Rules.Add`: `ay`, the absolute path of the program to be blocked.
pub const OPTION_PROGRAM: &str = "program";

/// Option of `Rules.Add`: `s`, see `rule::Lifetime`. It has to be given.
pub const OPTION_LIFETIME: &str = "lifetime";

/// Option of `Rules.Add`: `s`, see `rule::Ways`. Without it: both.
pub const OPTION_WAYS: &str = "direction";

/// Option of `Rules.Add`: `s`, see `rule::Answer`. Without it: reject.
pub const OPTION_ANSWER: &str = "answer";

/// Option of `Rules.Add`: `s`, see `rule::Extent`. Without it: outside.
pub const OPTION_EXTENT: &str = "extent";

/// Option of `OpenEventStream`: `s`, one of [`SCOPE_OWN`] and [`SCOPE_ALL`]. Without it: own.
pub const OPTION_SCOPE: &str = "scope";

/// Only processes that are wholly the caller's.
pub const SCOPE_OWN: &str = "own";

/// Every process.
pub const SCOPE_ALL: &str = "all";

/// Value of the property `Mode`: the kernel tells every event.
pub const MODE_FULL: &str = "full";

/// Value of the property `Mode`: only polling.
pub const MODE_REDUCED: &str = "reduced";

/// Key of the property `Coverage`: `t`, milliseconds since the helper began to watch.
pub const COVERAGE_UPTIME_MS: &str = "uptime_ms";

/// Key of the property `Coverage`: `a(sssss)`, for each capability its name, the source in use, the status
/// (`best`, `equal`, `reduced`, `missing`), what that costs and what the kernel answered.
pub const COVERAGE_SOURCES: &str = "sources";

/// Key of the property `Coverage`: `a(sttttt)`, for each kind of record its word and how many were made,
/// delivered, lost, filtered and in flight.
pub const COVERAGE_KINDS: &str = "kinds";

/// Error names, as they stand in replies.
pub mod error {
    /// polkit said no, or there was nobody to ask.
    pub const NOT_AUTHORIZED: &str = "org.sekhmet.Helper1.Error.NotAuthorized";
    /// polkit would ask the user, but the caller did not allow interaction.
    pub const INTERACTION_REQUIRED: &str = "org.sekhmet.Helper1.Error.InteractionRequired";
    /// An argument is not what the method takes.
    pub const INVALID_ARGUMENT: &str = "org.sekhmet.Helper1.Error.InvalidArgument";
    /// The caller or all callers together have too much open.
    pub const LIMITS_EXCEEDED: &str = "org.sekhmet.Helper1.Error.LimitsExceeded";
    /// There is no rule, or no process, with that id.
    pub const UNKNOWN_ID: &str = "org.sekhmet.Helper1.Error.UnknownId";
    /// What was to be changed is not any more what the caller has seen.
    pub const CHANGED: &str = "org.sekhmet.Helper1.Error.Changed";
    /// This machine cannot do it; the coverage says why.
    pub const UNAVAILABLE: &str = "org.sekhmet.Helper1.Error.Unavailable";
    /// The helper could not do it; its log says why.
    pub const FAILED: &str = "org.sekhmet.Helper1.Error.Failed";
}

//! The words of each state: heading, sentence, action.

/// No helper: heading.
pub const NO_HELPER: &str = "The helper is not running";
/// No helper: what it means.
pub const NO_HELPER_TEXT: &str = "Without it nothing is seen and nothing is recorded.";
/// No helper: what to do.
pub const START_HELPER: &str = "Start the helper";
/// Not authorised: heading.
pub const REFUSED: &str = "You have not allowed watching yet";
/// Not authorised: what it means.
pub const REFUSED_TEXT: &str = "The helper runs. It shows traffic only to people who may see it. Your own programs need one confirmation per login.";
/// Not authorised: what to do.
pub const ALLOW: &str = "Allow watching";
/// Own programs only: heading.
pub const OWN_ONLY: &str = "You see your own programs.";
/// Own programs only: what it means.
pub const OWN_ONLY_TEXT: &str =
    "Those of other users and of the system need an administrator's confirmation.";
/// Reduced view: heading.
pub const REDUCED: &str = "Reduced view.";
/// Reduced view: what it means.
pub const REDUCED_TEXT: &str = "This kernel allows polling only. Connections shorter than 2 s may be missed.";
/// Reduced view: what to do.
pub const WHAT_IS_MISSING: &str = "What is missing";
/// Before a suggestion.
pub const DID_YOU_MEAN: &str = "Did you mean";
/// Nothing yet: heading.
pub const NOTHING: &str = "Nothing has talked yet";
/// Nothing under this lens: heading.
pub const NOTHING_HERE: &str = "Nothing here has talked in the last 5 min";
/// Nothing under this lens: what it means.
pub const NOTHING_HERE_TEXT: &str = "The other lenses may show more.";
/// The first try is under way.
pub const CONNECTING: &str = "Looking for the helper";
/// The first try: what it means.
pub const CONNECTING_TEXT: &str = "The first answer usually takes less than a second.";
/// Try at once.
pub const TRY_NOW: &str = "Try now";
/// Empty the search.
pub const CLEAR: &str = "Clear";
/// Nothing found: heading.
pub const EMPTY_SEARCH: &str = "Nothing matches in the last 5 min";
/// Local traffic might match.
pub const SEARCH_LOCAL: &str = "LAN and loopback are hidden and were not searched.";

/// Nothing yet: since when.
pub fn nothing_text(clock: &str) -> String {
    format!("Watching since {clock}. The first connection appears here within one second.")
}

/// The helper went away: heading.
pub fn lost(seconds: u64) -> String {
    format!("The helper went away {} ago.", super::times::span(seconds))
}

/// The helper went away: what is shown, and when it is tried again.
pub fn lost_text(clock: &str, retry_in: Option<u64>) -> String {
    let next = match retry_in {
        Some(0) | None => "Trying again now.".to_owned(),
        Some(seconds) => format!("Trying again in {seconds} s."),
    };
    format!("You see {clock}. {next}")
}

/// Nothing found: why.
pub fn empty_search_text(search: &str, host: Option<&str>) -> String {
    match host {
        Some(host) => format!("No host contains {host}."),
        None => format!("No program, process or host contains {search}."),
    }
}

/// What might have been meant.
pub fn did_you_mean(host: &str) -> String {
    format!("host:{host}")
}

/// What the bus answered, below a state's sentence.
pub fn answer(error: &str) -> String {
    format!("The answer was: {error}")
}

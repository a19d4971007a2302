//! The words about blocking: menu, badges, notices, the page of rules.

use sekhmet_common::{
    refusal::Refusal,
    rule::{Lifetime, Rule},
};

use super::{number_of, numbers};
use crate::model::{
    block::{Choice, Consequence, Offer, Scope, Span},
    verdict::Verdict,
};

/// The button of a row.
pub const BLOCK: &str = "Block";
/// The badge of a blocked row.
pub const BLOCKED: &str = "Blocked";
/// While the helper, and perhaps a person, decides.
pub const ASKING: &str = "Asking…";
/// Head of the column.
pub const HEAD: &str = "Rule";
/// Takes a rule away.
pub const UNBLOCK: &str = "Unblock";
/// Opens the page.
pub const SHOW_RULES: &str = "Show all rules";
/// Whom.
pub const WHAT: &str = "What";
/// For how long.
pub const HOW_LONG: &str = "For how long";
/// The rarer choices.
pub const MORE: &str = "More choices";
/// Hides them.
pub const LESS: &str = "Fewer choices";
/// Silence instead of an error.
pub const DROP: &str = "Drop silently";
/// What that means.
pub const DROP_HINT: &str = "no error, the program waits";
/// This machine, too.
pub const LOCAL: &str = "Also on this machine";
/// What that means.
pub const LOCAL_HINT: &str = "loopback and own addresses";
/// What comes before it is done.
pub const ASKS: &str = "May ask for your password";
/// Takes back the last step.
pub const UNDO: &str = "Undo";
/// Closes the notice.
pub const DISMISS: &str = "Dismiss";
/// Closes the menu.
pub const CLOSE: &str = "Close the menu";
/// The helper went away with a request.
pub const NO_ANSWER: &str = "The helper went away before it answered. See the rules when it is back.";
/// A recording shows what was.
pub const RECORDING: &str = "Nothing was changed. This is a recording.";
/// Too many requests at once.
pub const BUSY: &str = "Nothing was changed. Too many requests wait for an answer.";
/// polkit said no, the person did, or nobody could be asked.
pub const NOT_CONFIRMED: &str = "the request was not confirmed";
/// A lifetime in short.
const UNTIL_RESTART: &str = "until restart";
/// The button of a row that is blocked.
pub const WHY: &str = "Blocked: why, and unblock";
/// The verdict without a rule.
pub const ALLOWED: &str = "Allowed, no rule matches";
/// Blocked by a rule that this user may not see.
pub const UNKNOWN_RULE: &str = "By a rule that only an administrator may see.";
/// Nothing on the page.
pub const NO_RULES: &str = "Nothing is blocked";
/// What to do about it.
pub const NO_RULES_TEXT: &str = "Select a program or a process and press B, or use the button in its row.";
/// The page.
pub const RULES: &str = "Rules";
/// The tab with refusals.
pub const REFUSED: &str = "Refused";

/// Heads of the page.
pub mod head {
    /// The number.
    pub const NUMBER: &str = "No.";
    /// The sentence.
    pub const RULE: &str = "Rule";
    /// How long.
    pub const LASTS: &str = "Lasts";
    /// Who and when.
    pub const MADE_BY: &str = "Made by";
    /// How often.
    pub const HITS: &str = "Hits";
    /// When last.
    pub const LAST_HIT: &str = "Last hit";
}

/// A span in the menu.
pub fn span(span: Span) -> &'static str {
    match span {
        Span::UntilExit => "Until it exits",
        Span::Hour => "1 hour",
        Span::UntilRestart => "Until restart",
        Span::Always => "Always",
    }
}

/// The title of the reason.
pub fn blocked_title(name: &str) -> String {
    format!("{name}: blocked")
}

/// Why a lifetime does not suit a process.
pub const ONLY_PROGRAMS: &str = "Only for a program: no process outlives a restart";

/// The title of the menu.
pub fn title(name: &str) -> String {
    format!("Block {name}")
}

/// One line of whom to block: name and what stands beside it.
pub fn offer(offer: &Offer) -> (String, String) {
    match (&offer.scope, &offer.path) {
        (Scope::Process(_), _) => {
            let with = match offer.children {
                0 => "and what it starts".to_owned(),
                n => format!("and its {}", number_of(n, "child", "children")),
            };
            (format!("This process, {}", offer.name), with)
        }
        (Scope::Program(_), path) => {
            (format!("{}, whenever it runs", offer.name), path.clone().unwrap_or_default())
        }
    }
}

/// The first line of what a choice does.
pub fn closes(n: usize) -> String {
    match n {
        0 => "Nothing is open now.".to_owned(),
        n => format!("Closes {} at once.", number_of(n, "open connection", "open connections")),
    }
}

/// What else a choice does, and what it leaves alone.
pub fn consequence(choice: &Choice, c: &Consequence) -> String {
    let mut told = Vec::new();
    match choice.scope {
        Scope::Process(_) => {
            if !c.children.is_empty() {
                let children = number_of(c.children.len(), "child", "children");
                told.push(format!("Includes {children}: {}.", names(&c.children)));
            }
            if !c.same_program.is_empty() {
                told.push(format!("Other programs that {} runs keep working.", c.program));
            }
        }
        Scope::Program(_) => {
            let processes = number_of(c.processes, "running process", "running processes");
            let with = match c.children.len() {
                0 => String::new(),
                n => format!(" and {} of theirs", number_of(n, "child", "children")),
            };
            told.push(format!("Includes {processes}{with}."));
            if !c.same_program.is_empty() {
                told.push(format!("{} also runs {}: blocked, too.", c.program, names(&c.same_program)));
            }
        }
    }
    told.push(if choice.local {
        "Traffic inside this machine is refused, too.".to_owned()
    } else {
        "Traffic inside this machine is not touched.".to_owned()
    });
    told.join(" ")
}

/// `zstd and gpg`, `a, b, c and 4 more`.
fn names(names: &[String]) -> String {
    match names {
        [] => String::new(),
        [one] => one.clone(),
        [first @ .., last] if names.len() <= 3 => format!("{} and {last}", first.join(", ")),
        [first @ .., _] => {
            let shown = first.get(..3).unwrap_or(first);
            format!("{} and {} more", shown.join(", "), names.len() - shown.len())
        }
    }
}

/// The button that does it.
pub fn confirm(name: &str, span: Span) -> String {
    let span = match span {
        Span::UntilExit => "until it exits",
        Span::Hour => "for 1 hour",
        Span::UntilRestart => UNTIL_RESTART,
        Span::Always => "always",
    };
    format!("Block {name} {span}")
}

/// The verdict of a rule in short; the badge tells it in full.
pub fn blocked_since(rule: &Rule, since: &str) -> String {
    format!("Blocked since {since}, rule {}", rule.id)
}

/// How long a rule lasts, in a narrow column. `left` is how many seconds one with a time has left.
pub fn lasts(rule: &Rule, left: Option<u64>) -> String {
    match (rule.lifetime, left) {
        (Lifetime::Seconds(_), Some(seconds)) => format!("{} left", super::times::span(seconds)),
        (Lifetime::UntilRestart, _) => UNTIL_RESTART.to_owned(),
        (lifetime, _) => lifetime.phrase(),
    }
}

/// The sentence without what the column beside it says.
pub fn without_lifetime(rule: &Rule) -> String {
    let sentence = rule.sentence();
    let phrase = format!(" {}", rule.lifetime.phrase());
    match sentence.rsplit_once(&phrase) {
        Some((before, after)) => format!("{before}{after}"),
        None => sentence,
    }
}

/// The button of a row, for those who hear it.
pub fn cell(name: &str) -> String {
    format!("Block {name}, menu")
}

/// Refusals in a row.
pub fn refused(n: u64) -> String {
    format!("{} refused", numbers::count(n))
}

/// Some processes of a row are blocked.
pub fn some_blocked(n: usize) -> String {
    format!("{} blocked", numbers::count(n as u64))
}

/// What rules did to a row: `blocked, 3 refused`.
pub fn verdict(verdict: Verdict) -> String {
    let blocked = match (verdict.rule, verdict.blocked) {
        (Some(_), _) => Some("blocked".to_owned()),
        (None, 0) => None,
        (None, n) => Some(some_blocked(n)),
    };
    let refused = (verdict.refused > 0).then(|| refused(verdict.refused));
    [blocked, refused].into_iter().flatten().collect::<Vec<_>>().join(", ")
}

/// A notice: it is blocked.
pub fn is_blocked(name: &str, lifetime: Lifetime, closed: usize) -> String {
    let closed = match closed {
        0 => String::new(),
        n => format!(" Closed {}.", number_of(n, "connection", "connections")),
    };
    format!("{name} is blocked {}.{closed}", lifetime.phrase())
}

/// A notice: it is no longer blocked.
pub fn is_unblocked(name: &str) -> String {
    format!("{name} is no longer blocked.")
}

/// A notice: it failed, and nothing is different.
pub fn nothing_changed(reason: &str) -> String {
    format!("Nothing was changed. {}", failed(reason))
}

/// A notice: it failed on the way.
pub fn failed(reason: &str) -> String {
    format!("{}.", super::sentence_case(reason.trim_end_matches('.')))
}

/// The step that can be undone.
pub fn undo(name: &str, blocks: bool) -> String {
    if blocks { format!("Undo: block {name}") } else { format!("Undo: unblock {name}") }
}

/// Why a row is blocked: the rule as a sentence, its number, since when.
pub fn reason(rule: &Rule, since: &str) -> String {
    format!("{}. Rule {}, in force since {since}.", rule.sentence(), rule.id)
}

/// Who made a rule.
pub fn maker(rule: &Rule) -> String {
    rule.added_by_user
        .as_ref()
        .filter(|user| !user.is_empty())
        .map_or_else(|| format!("uid {}", rule.added_by), |user| user.shown())
}

/// Who made it and how often it was needed.
pub fn record(maker: &str, hits: u64) -> String {
    format!("Made by {maker}. {}.", attempts(hits))
}

fn attempts(hits: u64) -> String {
    match hits {
        0 => "It has refused nothing yet".to_owned(),
        1 => "It has refused 1 attempt".to_owned(),
        n => format!("It has refused {} attempts", numbers::count(n)),
    }
}

/// The heading's second part.
pub fn rules_summary(rules: usize, hits: u64) -> String {
    format!("{}, {}", number_of(rules, "rule", "rules"), refused(hits))
}

/// The button that removes a rule, for those who hear it.
pub fn remove(rule: &Rule) -> String {
    format!("Unblock: remove rule {}", rule.id)
}

/// A row of the page, for those who hear it.
pub fn row(rule: &Rule, lasts: &str, made: &str, hits: u64, last_hit: &str) -> String {
    format!(
        "Rule {}: {}, lasts {lasts}, made by {made}, {} hits, last {last_hit}",
        rule.id,
        rule.sentence(),
        numbers::count(hits)
    )
}

/// The second line of a refusal.
pub fn refusal(refusal: &Refusal, last: &str) -> String {
    let port = match refusal.remote.port {
        0 => String::new(),
        port => format!(" {port}"),
    };
    format!("{}{port}, last {last}, rule {}", super::protocol(refusal.protocol), refusal.rule)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_names_stay_short() {
        let list = |n: usize| (0..n).map(|i| format!("p{i}")).collect::<Vec<_>>();
        assert_eq!(names(&list(1)), "p0");
        assert_eq!(names(&list(2)), "p0 and p1");
        assert_eq!(names(&list(3)), "p0, p1 and p2");
        assert_eq!(names(&list(9)), "p0, p1, p2 and 6 more");
        assert_eq!(closes(1), "Closes 1 open connection at once.");
    }
}

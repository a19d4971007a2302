//! The small language of the search box: words, and words for one field.

use sekhmet_common::{flow::Flow, process::Process};

use super::{
    key::HostKey,
    ledger::{Group, Proc},
};

/// What was typed, as terms that must all hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Query {
    terms: Vec<Term>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Term {
    field: Field,
    value: String,
    negated: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Field {
    Any,
    Host,
    App,
    User,
    Unit,
    Pid,
    Port,
    Protocol,
}

const FIELDS: [(&str, Field); 9] = [
    ("host", Field::Host),
    ("app", Field::App),
    ("program", Field::App),
    ("user", Field::User),
    ("unit", Field::Unit),
    ("pid", Field::Pid),
    ("port", Field::Port),
    ("protocol", Field::Protocol),
    ("proto", Field::Protocol),
];

/// One flow's place in the tree, as far as a search is concerned. Without a flow: a host's.
pub struct Place<'a> {
    /// The program.
    pub group: &'a Group,
    /// The process.
    pub proc: &'a Proc,
    /// The host's key.
    pub host: &'a HostKey,
    /// One flow of that host.
    pub flow: Option<&'a Flow>,
}

impl Query {
    /// Reads what was typed. Everything is a query; an empty one matches all.
    pub fn parse(text: &str) -> Self {
        let terms = text.split_whitespace().filter_map(|word| {
            let (negated, word) = match word.strip_prefix('-') {
                Some(rest) if !rest.is_empty() => (true, rest),
                _ => (false, word),
            };
            let (field, value) = word
                .split_once(':')
                .and_then(|(name, value)| {
                    let name = name.to_ascii_lowercase();
                    FIELDS.iter().find(|(n, _)| *n == name).map(|(_, field)| (*field, value))
                })
                .unwrap_or((Field::Any, word));
            let value = value.to_lowercase();
            (!value.is_empty()).then_some(Term { field, value, negated })
        });
        Self { terms: terms.collect() }
    }

    /// Whether everything matches.
    pub fn is_empty(&self) -> bool {
        self.terms.is_empty()
    }

    /// The host that was asked for, if the query is about one.
    pub fn host(&self) -> Option<&str> {
        self.terms.iter().find(|t| t.field == Field::Host && !t.negated).map(|t| t.value.as_str())
    }

    /// Whether a place in the tree matches every term.
    pub fn matches(&self, place: &Place<'_>) -> bool {
        self.terms.iter().all(|term| term.matches(place) != term.negated)
    }
}

impl Term {
    fn matches(&self, place: &Place<'_>) -> bool {
        match self.field {
            Field::Host => self.is_host(place),
            Field::App => self.is_app(place),
            Field::User => self.within_info(place, |p| p.user.as_ref().map(|u| u.shown())),
            Field::Unit => self.within_info(place, |p| p.unit.as_ref().map(|u| u.shown())),
            Field::Pid => place.proc.info.as_ref().is_some_and(|p| p.pid.to_string() == self.value),
            Field::Port => place.flow.is_some_and(|f| {
                [f.remote.port, f.local.port].iter().any(|port| port.to_string() == self.value)
            }),
            Field::Protocol => place.flow.is_some_and(|f| f.protocol.word() == self.value),
            Field::Any => {
                self.is_host(place)
                    || self.is_app(place)
                    || self.within_info(place, |p| {
                        let words = p.cmdline.iter().map(|a| a.shown()).collect::<Vec<_>>();
                        Some(words.join(" "))
                    })
                    || place.proc.info.as_ref().is_some_and(|p| p.pid.to_string() == self.value)
            }
        }
    }

    fn is_app(&self, place: &Place<'_>) -> bool {
        contains(&place.group.label, &self.value)
            || contains(&place.proc.label, &self.value)
            || self.within_info(place, |p| Some(p.name.shown()))
    }

    /// A host matches by the end of its name at a dot, or by any part of it.
    fn is_host(&self, place: &Place<'_>) -> bool {
        contains(&place.host.label(), &self.value)
            || place.flow.is_some_and(|f| f.remote.addr.to_string().contains(&self.value))
    }

    fn within_info(&self, place: &Place<'_>, field: impl Fn(&Process) -> Option<String>) -> bool {
        place.proc.info.as_ref().and_then(field).is_some_and(|text| contains(&text, &self.value))
    }
}

fn contains(text: &str, lower: &str) -> bool {
    // Most texts are lower case already; the search runs over every row once a second.
    text.contains(lower) || text.to_lowercase().contains(lower)
}

/// Of some words, the one that is nearest to what was typed, if it is near enough to be meant.
pub fn nearest<'a>(typed: &str, words: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let limit = (typed.chars().count() / 4).clamp(1, 3);
    words
        .map(|word| (distance(typed, word), word))
        .filter(|(distance, _)| *distance <= limit)
        .min()
        .map(|(_, word)| word)
}

/// Damerau–Levenshtein distance with neighbouring swaps (optimal string alignment), by characters.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().take(64).collect(), b.chars().take(64).collect());
    let mut rows = vec![vec![0usize; b.len() + 1]; a.len() + 1];
    for (i, row) in rows.iter_mut().enumerate() {
        row[0] = i;
    }
    for (j, cell) in rows[0].iter_mut().enumerate() {
        *cell = j;
    }
    for i in 1..=a.len() {
        for j in 1..=b.len() {
            let cost = usize::from(a[i - 1] != b[j - 1]);
            let mut best = (rows[i - 1][j] + 1).min(rows[i][j - 1] + 1).min(rows[i - 1][j - 1] + cost);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(rows[i - 2][j - 2] + 1);
            }
            rows[i][j] = best;
        }
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_words_and_fields() {
        let q = Query::parse("curl HOST:Example.org -port:443 odd:thing");
        assert_eq!(q.terms.len(), 4);
        assert_eq!(q.host(), Some("example.org"));
        assert!(q.terms[2].negated && q.terms[2].field == Field::Port);
        assert_eq!(q.terms[3], Term { field: Field::Any, value: "odd:thing".into(), negated: false });
        assert!(Query::parse("  host: ").is_empty());
    }

    #[test]
    fn suggests_what_was_meant() {
        let hosts = ["example.com", "example.net", "registry.example"];
        assert_eq!(nearest("exmaple.com", hosts.into_iter()), Some("example.com"));
        assert_eq!(nearest("unrelated", hosts.into_iter()), None);
        assert_eq!(distance("ab", "ba"), 1);
        assert_eq!(distance("", "abc"), 3);
    }
}

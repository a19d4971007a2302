//! The small language of the search box: words, and words for one field.

use sekhmet_common::{display::Text, flow::Flow, process::Process, refusal::Refusal};

use super::{
    ledger::{Group, Host, Proc},
    verdict,
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

/// A process as a search sees it: in lower case, made when the process becomes known.
#[derive(Clone, Debug, Default)]
pub struct ProcWords {
    /// Its own name and its script's, a line each.
    names: String,
    cmdline: String,
    user: String,
    unit: String,
    pid: String,
}

impl ProcWords {
    /// The words of a process, which is called `label` in its row.
    pub fn of(process: &Process, label: &str) -> Self {
        let lower = |text: Option<&Text>| text.map(|t| t.shown().to_lowercase()).unwrap_or_default();
        let cmdline = process.cmdline.iter().map(Text::shown).collect::<Vec<_>>().join(" ");
        Self {
            names: format!("{label}\n{}", process.name.shown()).to_lowercase(),
            cmdline: cmdline.to_lowercase(),
            user: lower(process.user.as_ref()),
            unit: lower(process.unit.as_ref()),
            pid: process.pid.to_string(),
        }
    }
}

/// Names and addresses of all hosts of a process in lower case, a line each: most processes are dismissed by
/// one look at it. What left may stand in it for a while.
#[derive(Clone, Debug, Default)]
pub struct HostWords {
    text: String,
    lines: usize,
    /// Lines when it was written anew for the last time.
    renewed: usize,
}

impl HostWords {
    /// Writes it anew.
    pub fn of<'a>(lines: impl Iterator<Item = std::borrow::Cow<'a, str>>) -> Self {
        let mut words = Self::default();
        lines.for_each(|line| words.add(&line));
        words.renewed = words.lines;
        words
    }

    /// Adds a name or an address.
    pub fn add(&mut self, lower: &str) {
        self.text.push_str(lower);
        self.text.push('\n');
        self.lines += 1;
    }

    /// Whether it has grown so much that most of it may be about hosts that left.
    pub fn is_stale(&self) -> bool {
        self.lines > 2 * self.renewed + 64
    }
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

    /// What is left to ask of the hosts of a process, those included that it only `tried`. Nothing if none of
    /// them can match.
    pub fn within(&self, group: &Group, proc: &Proc, tried: &[&Refusal]) -> Option<Rest<'_>> {
        let mut rest = Rest(Vec::new());
        for term in &self.terms {
            match (term.of_process(group, proc), term.negated) {
                (Some(found), negated) if found == negated => return None,
                (Some(_), _) => {}
                (None, false) if !term.may_match_a_host(proc, tried) => return None,
                (None, _) => rest.0.push(term),
            }
        }
        Some(rest)
    }
}

/// The terms that a process does not decide for all of its hosts.
#[derive(Debug)]
pub struct Rest<'a>(Vec<&'a Term>);

impl Rest<'_> {
    /// Whether every host matches.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether a host matches every term by itself, or one of its flows does.
    pub fn matches<'f>(&self, host: &Host, flows: impl Iterator<Item = &'f Flow>) -> bool {
        self.is_empty() || self.hold(host, None) || flows.into_iter().any(|flow| self.hold(host, Some(flow)))
    }

    /// Whether what was refused matches every term.
    pub fn matches_refusal(&self, refusal: &Refusal) -> bool {
        self.0.iter().all(|term| term.of_refusal(refusal) != term.negated)
    }

    fn hold(&self, host: &Host, flow: Option<&Flow>) -> bool {
        self.0.iter().all(|term| term.of_host(host, flow) != term.negated)
    }
}

impl Term {
    /// What the process alone decides; nothing where its hosts have a say.
    fn of_process(&self, group: &Group, proc: &Proc) -> Option<bool> {
        let (value, words) = (self.value.as_str(), &proc.words);
        let app = || group.lower.contains(value) || words.names.contains(value);
        match self.field {
            Field::App => Some(app()),
            Field::User => Some(words.user.contains(value)),
            Field::Unit => Some(words.unit.contains(value)),
            Field::Pid => Some(words.pid == value),
            Field::Any => (app() || words.cmdline.contains(value) || words.pid == value).then_some(true),
            Field::Host | Field::Port | Field::Protocol => None,
        }
    }

    /// False only if no host of the process can match.
    fn may_match_a_host(&self, proc: &Proc, tried: &[&Refusal]) -> bool {
        match self.field {
            Field::Host | Field::Any => {
                proc.host_words.text.contains(&self.value) || tried.iter().any(|r| self.of_refusal(r))
            }
            _ => true,
        }
    }

    /// A host matches by any part of its name; a flow by its address, port or protocol.
    fn of_host(&self, host: &Host, flow: Option<&Flow>) -> bool {
        match self.field {
            Field::Host | Field::Any => {
                host.lower.contains(&self.value)
                    || host.is_named && flow.is_some_and(|f| f.remote.addr.to_string().contains(&self.value))
            }
            Field::Port => flow.is_some_and(|f| {
                self.value.parse().is_ok_and(|port: u16| f.remote.port == port || f.local.port == port)
            }),
            Field::Protocol => flow.is_some_and(|f| f.protocol.word() == self.value),
            Field::App | Field::User | Field::Unit | Field::Pid => false,
        }
    }
}

impl Term {
    /// A refusal matches like the flow that it would have been.
    fn of_refusal(&self, refusal: &Refusal) -> bool {
        match self.field {
            Field::Host | Field::Any => {
                verdict::host_of(refusal).label().to_lowercase().contains(&self.value)
                    || refusal.remote.addr.to_string().contains(&self.value)
            }
            Field::Port => self.value.parse().is_ok_and(|port: u16| refusal.remote.port == port),
            Field::Protocol => refusal.protocol.word() == self.value,
            Field::App | Field::User | Field::Unit | Field::Pid => false,
        }
    }
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

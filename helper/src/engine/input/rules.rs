//! What clients wish about rules, what the enforcing edges are asked to do, and what they answer.

use std::sync::Arc;

use sekhmet_common::{
    display::Text,
    flow::{Direction, Endpoint, Protocol},
    rule::{Draft, Rule, RuleId, Subject},
    time::Timestamp,
};

use super::ProcessKey;

/// Names one call of a client from its beginning to its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub u64);

/// What a client asks for, taken apart and not yet authorised.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// A new rule.
    Add(Draft),
    /// One rule less.
    Remove(RuleId),
    /// No rule any more.
    Release,
}

/// A request as it stands at one moment: what a person is asked about is what will be done, whatever changes
/// in between.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frozen {
    /// What will be done.
    pub deed: Deed,
    /// Whom it is about, in words for the question.
    pub target: String,
    /// For how long, in words; empty for the end of a rule.
    pub duration: String,
}

/// What will be done if the client is authorised.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Deed {
    /// Add this rule.
    Add(FrozenRule),
    /// Remove those of these rules that are still in force.
    Remove(Vec<RuleId>),
}

/// A rule to be: everything but its number and its time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FrozenRule {
    /// Whom.
    pub subject: Subject,
    /// The process of a rule about a process.
    pub process: Option<ProcessKey>,
    /// The programs of a rule about a program, as far as they are known.
    pub programs: Vec<ProgramKey>,
    /// Whether the path in the subject is one of the system's own file tree.
    pub by_path: bool,
    /// What the client said.
    pub draft: Draft,
}

/// What an authorised client wishes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wish {
    /// What was asked about.
    pub deed: Deed,
    /// Who wants it.
    pub by: u32,
}

/// Why a wish was not granted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WishError {
    /// No such process, or no such rule.
    #[error("{0}")]
    UnknownId(&'static str),
    /// Nothing can be a rule like that.
    #[error("{0}")]
    Invalid(&'static str),
    /// There are as many rules as there may be, or too much is under way.
    #[error("{0}")]
    TooMany(&'static str),
    /// This machine cannot do it.
    #[error("{0}")]
    Unavailable(&'static str),
    /// Something went wrong on the way; what was done has been undone.
    #[error("{0}")]
    Failed(String),
}

/// What a request means, or why it cannot be.
pub type FreezeResult = Result<Frozen, WishError>;

/// What became of a wish: the rules that it added or removed.
pub type WishResult = Result<Vec<RuleId>, WishError>;

/// The file that a process executes, as the kernel names it: a path can be imitated, this cannot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProgramKey {
    /// The file system's device number (`super_block.s_dev`), as the kernel encodes it.
    pub device: u32,
    /// The inode's number.
    pub inode: u64,
}

/// What the edges enforce: a rule's number and properties, and whom it blocks right now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Binding {
    /// The rule.
    pub rule: Rule,
    /// Processes, each with all that it starts from now on. Parents come before their children.
    pub processes: Vec<ProcessKey>,
    /// Programs: whoever executes one is blocked from its first instruction.
    pub programs: Vec<ProgramKey>,
    /// The path of the program in the system's own file tree: the file that it names now is meant, too.
    pub path: Option<Text>,
}

/// A rule as it is kept over a restart of the helper.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptRule {
    /// The rule.
    pub rule: Rule,
    /// The process of a rule about a process.
    pub process: Option<ProcessKey>,
    /// The programs of a rule about a program, as far as they are known.
    pub programs: Vec<ProgramKey>,
    /// Whether the path in the rule is one of the system's own file tree.
    pub by_path: bool,
}

/// Names one change from its order to its outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChangeId(pub u64);

/// One change of what is enforced. It is done whole, or undone and told so.
#[derive(Clone, Debug)]
pub struct Change {
    /// Its name.
    pub id: ChangeId,
    /// What is to be done.
    pub step: ChangeStep,
    /// Every rule that is to be kept once this is done; nothing if that does not change.
    pub keep: Option<Arc<[KeptRule]>>,
}

/// What a change does.
#[derive(Clone, Debug)]
pub enum ChangeStep {
    /// Puts a rule into force.
    Add(Binding),
    /// Takes rules out of force.
    Remove(Vec<RuleId>),
    /// A rule in force blocks these, too.
    Extend(Binding),
    /// These were bound by what they execute: the sockets that they had open already are to follow.
    Follow(Vec<ProcessKey>),
}

/// What came of a change.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Applied {
    /// Processes that are blocked beside those that were named: what they had started in between.
    pub bound: Vec<ProcessKey>,
    /// The files that the rule is bound to now.
    pub programs: Vec<ProgramKey>,
}

/// An attempt that a rule refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefusedSight {
    /// When the last one was.
    pub at: Timestamp,
    /// The rule's number.
    pub rule: u32,
    /// Who tried, if known.
    pub owner: Option<ProcessKey>,
    /// The protocol.
    pub protocol: Protocol,
    /// Which way.
    pub direction: Direction,
    /// The other side.
    pub remote: Endpoint,
    /// How many there were since this was last told.
    pub attempts: u64,
    /// Who saw it.
    pub seen_by: SeenBy,
}

/// Who saw that something was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SeenBy {
    /// The kernel programs, which know the process.
    Programs,
    /// The firewall, which knows the packet only.
    Firewall,
}

//! What a rule says, in the same words wherever a person reads it: prompt, window, terminal, log.

use super::{Answer, Extent, Lifetime, Rule, Subject, Ways};

/// The parts of a rule that its sentence names.
#[derive(Clone, Copy, Debug)]
pub(super) struct Spoken<'a> {
    subject: &'a Subject,
    ways: Ways,
    answer: Answer,
    extent: Extent,
    lifetime: Lifetime,
}

impl Rule {
    /// The whole rule as one sentence: "Block curl (PID 7) and what it starts until it exits".
    pub fn sentence(&self) -> String {
        self.spoken().sentence()
    }

    /// Whom it blocks.
    pub fn target(&self) -> String {
        self.subject.target()
    }

    fn spoken(&self) -> Spoken<'_> {
        let Self { subject, ways, answer, extent, lifetime, .. } = self;
        Spoken { subject, ways: *ways, answer: *answer, extent: *extent, lifetime: *lifetime }
    }
}

impl Spoken<'_> {
    fn sentence(&self) -> String {
        let way = match self.ways {
            Ways::Both => "",
            Ways::Outbound => ", outgoing only,",
            Ways::Inbound => ", incoming only,",
        };
        let near = match self.extent {
            Extent::Outside => "",
            Extent::Everywhere => " also on this computer",
        };
        let noticed = match self.answer {
            Answer::Reject => "",
            Answer::Drop => ", dropping silently",
        };
        format!("Block {}{way}{near} {}{noticed}", self.subject.target(), self.lifetime.phrase())
    }
}

impl Subject {
    /// Whom a rule blocks: "curl (PID 7) and what it starts", "every run of /usr/bin/curl and what it starts".
    pub fn target(&self) -> String {
        match self {
            Self::Process { pid, .. } => format!("{} (PID {pid}) and what it starts", self.name()),
            Self::Program { exe } => format!("every run of {} and what it starts", exe.shown()),
        }
    }
}

impl Lifetime {
    /// How long, in words: "until it exits", "for 1 hour", "always".
    pub fn phrase(self) -> String {
        match self {
            Self::UntilExit => "until it exits".to_owned(),
            Self::UntilRestart => "until the computer restarts".to_owned(),
            Self::Always => "always".to_owned(),
            Self::Seconds(n) => {
                let (count, unit) = match n {
                    n if n % 86_400 == 0 => (n / 86_400, "day"),
                    n if n % 3600 == 0 => (n / 3600, "hour"),
                    n if n % 60 == 0 => (n / 60, "minute"),
                    n => (n, "second"),
                };
                format!("for {count} {unit}{}", if count == 1 { "" } else { "s" })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::{
        rule::{Answer, Extent, Lifetime, Rule, RuleId, Subject, Ways},
        time::Timestamp,
    };

    fn rule(subject: Subject) -> Rule {
        Rule {
            id: RuleId(1),
            subject,
            ways: Ways::Both,
            answer: Answer::Reject,
            extent: Extent::Outside,
            lifetime: Lifetime::UntilExit,
            added_at: Timestamp(0),
            expires_at: None,
            added_by: 1000,
            added_by_user: None,
            hits: 0,
        }
    }

    #[test]
    fn says_all_that_is_out_of_the_ordinary() {
        let plain = rule(Subject::Process {
            process: None,
            pid: 7,
            name: "backup.py".into(),
            exe: "/usr/bin/python3".into(),
        });
        assert_eq!(plain.sentence(), "Block backup.py (PID 7) and what it starts until it exits");
        let odd = Rule {
            ways: Ways::Outbound,
            answer: Answer::Drop,
            extent: Extent::Everywhere,
            lifetime: Lifetime::Seconds(3600),
            ..rule(Subject::Program { exe: "/usr/bin/curl".into() })
        };
        assert_eq!(
            odd.sentence(),
            "Block every run of /usr/bin/curl and what it starts, outgoing only, also on this computer for 1 hour, \
             dropping silently"
        );
        assert_eq!(odd.subject.name(), "curl");
    }

    #[test]
    fn foreign_text_is_escaped() {
        let hostile = rule(Subject::Program { exe: "/tmp/a\n\u{202e}b".into() });
        assert!(!hostile.sentence().contains(['\n', '\u{202e}']));
    }
}

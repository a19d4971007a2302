//! Blocks outlive the helper: what it leaves behind while a rule is in force, and what it takes over.

use std::collections::{BTreeMap, HashSet};

use sekhmet_common::{display::escape, rule::RuleId};

use super::{Bound, Enforcer};
use crate::{
    engine::input::{KeptRule, ProcessKey},
    firewall::Hold,
    run::keeping::Keeping,
};

/// Passes over the processes of a former helper, which go on to have children.
const PASSES_MAX: usize = 64;

impl Enforcer {
    /// Leaves with the service manager what keeps blocks in force when the helper dies. `has_table` if the firewall
    /// holds the table already that a former helper left.
    #[must_use]
    pub fn leaving_behind(mut self, keeping: Keeping, has_table: bool) -> Self {
        self.keeping = Some(keeping);
        self.is_adopted = has_table;
        if has_table {
            self.hold = Some(Hold::Owned);
            self.listen();
            if let Err(reason) = self.judge.set_firewall(true) {
                tracing::error!(reason, "the kernel programs do not know that there is a firewall");
            }
        }
        self
    }

    /// Gives each rule the packets that the firewall has refused for it since its table was made, also while there was
    /// no helper. Where they went nobody knows any more.
    pub(super) fn count_former(&mut self, rules: &mut [KeptRule]) {
        let Some(firewall) = self.firewall.as_mut().filter(|_| self.is_adopted) else { return };
        match firewall.counters() {
            Ok(counters) => {
                for kept in rules {
                    let count = counters.by_rule.get(&kept.rule.id.0);
                    kept.rule.hits = count.map_or(0, |count| count.packets);
                }
            }
            Err(error) => {
                let error = escape(error.to_string().as_bytes());
                tracing::warn!(error, "what was refused while there was no helper is not counted");
            }
        }
    }

    /// Binds whoever the programs of a former helper refuse something to, for these rules. Gives them.
    ///
    /// Those programs are still at work. A child that is born behind the look has a parent that is bound here; one
    /// that was born before is in their map, and is found in the next pass.
    pub(super) fn bind_inherited(
        &mut self,
        rules: &[KeptRule],
        bound: &[Box<dyn Bound>],
    ) -> Vec<(ProcessKey, RuleId)> {
        let rules: HashSet<RuleId> = rules.iter().map(|kept| kept.rule.id).collect();
        let mut done: HashSet<(ProcessKey, RuleId)> = HashSet::new();
        for former in bound {
            for _pass in 0..PASSES_MAX {
                let all = former.list().unwrap_or_else(|reason| {
                    tracing::error!(reason, "who was blocked before cannot be read");
                    Vec::new()
                });
                let mut new: BTreeMap<RuleId, Vec<ProcessKey>> = BTreeMap::new();
                for (process, rule) in all {
                    if rules.contains(&rule) && done.insert((process, rule)) {
                        new.entry(rule).or_default().push(process);
                    }
                }
                if new.is_empty() {
                    break;
                }
                for (rule, processes) in new {
                    if let Err(reason) = self.judge.bind_each(&processes, rule) {
                        tracing::error!(rule = rule.0, reason, "not everybody is blocked who was before");
                    }
                }
            }
        }
        done.into_iter().collect()
    }

    /// While a rule is in force the service manager keeps what holds it; afterwards nothing.
    pub(super) fn keep_or_clear(&mut self) {
        let is_idle = self.judge.is_idle();
        if is_idle {
            self.lower_firewall();
        }
        let Some(keeping) = &mut self.keeping else { return };
        let result = if is_idle {
            keeping.clear()
        } else {
            // A table without an owner stays by itself.
            let owner = self.firewall.as_ref().filter(|_| self.hold == Some(Hold::Owned));
            keeping.keep(&self.judge.lasting(), owner.and_then(|firewall| firewall.owner()))
        };
        if let Err(error) = result {
            let error = escape(error.to_string().as_bytes());
            tracing::warn!(error, "blocks would end with the helper: the service manager cannot be told");
        }
    }
}

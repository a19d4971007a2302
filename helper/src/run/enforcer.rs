//! The thread that puts rules into force: on the disk first, then in the firewall, then in the kernel programs.
//!
//! A change is done whole or undone. Its parts do not know each other; their order is here.

mod disk;
mod judge;
mod lasting;
mod refused;

use std::{
    io,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender};
use sekhmet_common::{
    display::{Text, escape},
    kernel::mark::{INBOUND_FREE, LOCAL_TOO, Mark, OUTBOUND_FREE, SILENT},
    rule::{Answer, Extent, Rule, RuleId, Ways},
};

use self::disk::Disk;
pub use self::judge::{Bound, Judge};
use crate::{
    engine::input::{Applied, Binding, Change, ChangeStep, Input, KeptRule, ProcessKey, ProgramKey},
    firewall::{self, Firewall, Hold, State},
    run::keeping::Keeping,
    store::Store,
};

/// How often a table that others can remove is looked after.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// How often sockets are looked for that changed hands, while a rule is in force.
const PATROL_EVERY: Duration = Duration::from_millis(200);

/// What is in force again after a restart.
#[derive(Debug, Default)]
pub struct Restored {
    /// The rules.
    pub rules: Vec<KeptRule>,
    /// Processes that a former helper had bound to them, whoever they descend from.
    pub bound: Vec<(ProcessKey, RuleId)>,
}

/// Everything that enforces.
pub struct Enforcer {
    judge: Box<dyn Judge>,
    firewall: Option<Box<dyn Firewall>>,
    hold: Option<Hold>,
    disk: Disk,
    kept: Arc<[KeptRule]>,
    /// Where refused packets are told.
    seen: Sender<Input>,
    packets: Option<firewall::Reader>,
    listens: bool,
    put_back: u64,
    /// Whether the table is one that a former helper made.
    is_adopted: bool,
    /// Whether the last patrol failed, and that was said.
    is_patrol_vain: bool,
    /// What the service manager keeps for the next helper.
    keeping: Option<Keeping>,
}

impl Enforcer {
    /// Nothing in force yet. Without a firewall the kernel programs refuse alone; without a store rules end with
    /// the helper.
    pub fn new(
        judge: Box<dyn Judge>,
        firewall: Option<Box<dyn Firewall>>,
        store: Option<Store>,
        seen: Sender<Input>,
    ) -> Self {
        let kept = Arc::default();
        Self {
            judge,
            firewall,
            hold: None,
            disk: Disk::new(store),
            kept,
            seen,
            packets: None,
            listens: false,
            put_back: 0,
            is_adopted: false,
            is_patrol_vain: false,
            keeping: None,
        }
    }

    /// Also reads which packets the firewall refused. The log group of the machine's firewall has one listener.
    #[must_use]
    pub fn listening(self) -> Self {
        Self { listens: true, ..self }
    }

    /// Puts rules into force that were kept, before anybody is told that the helper is ready. Whoever a former helper
    /// `bound` to them is bound again. Gives the rules that could be: one that cannot is left out with a word in the
    /// log, and stays on the disk.
    pub fn restore(&mut self, kept: Vec<KeptRule>, bound: &[Box<dyn Bound>]) -> Restored {
        let mut rules = Vec::new();
        if !kept.is_empty()
            && let Err(reason) = self.raise_firewall()
        {
            tracing::error!(reason, "nobody refuses what is marked");
        }
        for mut rule in kept {
            let binding = Binding {
                rule: rule.rule.clone(),
                processes: rule.process.into_iter().collect(),
                programs: rule.programs.clone(),
                path: path_of(&rule),
            };
            match self.bind(&binding) {
                Ok(applied) => {
                    let new = applied.programs.into_iter().filter(|p| !rule.programs.contains(p));
                    rule.programs.extend(new.collect::<Vec<_>>());
                    rules.push(rule);
                }
                Err(reason) => {
                    tracing::error!(rule = rule.rule.id.0, reason, "a kept rule is not in force");
                    self.lift(&[rule.rule.id]);
                }
            }
        }
        self.count_former(&mut rules);
        let bound = self.bind_inherited(&rules, bound);
        // Once for all: until then the programs of the former helper refuse.
        if !rules.is_empty()
            && let Err(reason) = self.judge.settle().and_then(|()| self.judge.sweep())
        {
            tracing::error!(reason, "sockets that were open before the helper do not follow the rules");
        }
        self.kept = rules.clone().into();
        self.keep_or_clear();
        Restored { rules, bound }
    }

    /// Does one change, or undoes it.
    ///
    /// # Errors
    /// In words for a person: nothing has changed then.
    pub fn apply(&mut self, change: &Change) -> Result<Applied, String> {
        let before = Arc::clone(&self.kept);
        if let Some(keep) = &change.keep {
            let kept = self.disk.keep(keep);
            match (kept, &change.step) {
                // A block that would be forgotten is refused.
                (Err(reason), ChangeStep::Add(_)) => return Err(reason),
                // That one ends, or holds also for a program's new file, does not depend on a disk.
                (Err(reason), _) => tracing::error!(reason, "what is on the disk is not what is in force"),
                (Ok(()), _) => {}
            }
            self.kept = Arc::clone(keep);
        }
        let done = match &change.step {
            ChangeStep::Add(binding) => self.enforce(binding).inspect_err(|_reason| {
                self.lift(&[binding.rule.id]);
            }),
            ChangeStep::Extend(binding) => self.enforce(binding),
            ChangeStep::Follow(processes) => self.judge.follow(processes).map(|()| Applied::default()),
            ChangeStep::Remove(ids) => {
                self.lift(ids);
                Ok(Applied::default())
            }
        };
        if done.is_err() && change.keep.is_some() {
            if let Err(reason) = self.disk.keep(&before) {
                tracing::error!(reason, "a rule that is not in force is still on the disk");
            }
            self.kept = before;
        }
        self.keep_or_clear();
        done
    }

    /// Sees to sockets that blocked processes have received.
    pub fn patrol(&mut self) {
        let seen_to = self.judge.patrol();
        if let Err(reason) = &seen_to
            && !self.is_patrol_vain
        {
            tracing::warn!(reason, "sockets that blocked processes receive are not blocked");
        }
        self.is_patrol_vain = seen_to.is_err();
    }

    /// Puts the firewall's table back if somebody removed or changed it, and makes up for what the service manager
    /// could not be told.
    pub fn look_after(&mut self) {
        self.look_after_table();
        self.make_up_on_disk();
        self.keep_or_clear();
    }

    fn look_after_table(&mut self) {
        if self.hold != Some(Hold::Shared) {
            return;
        }
        let Some(firewall) = &mut self.firewall else { return };
        match firewall.check() {
            Ok(State::Intact) => {}
            Ok(state) => {
                self.put_back += 1;
                tracing::warn!(?state, times = self.put_back, "the firewall's table was put back");
                self.hold = None;
                if let Err(reason) = self.raise_firewall() {
                    tracing::error!(reason, "the firewall's table could not be put back");
                }
            }
            Err(error) => {
                tracing::warn!(error = %escape(error.to_string().as_bytes()), "the firewall is silent")
            }
        }
    }

    fn enforce(&mut self, binding: &Binding) -> Result<Applied, String> {
        let applied = self.bind(binding)?;
        self.judge.settle()?;
        // Last, for it can take long on a busy machine, and nothing passes meanwhile: the kernel programs refuse
        // what the table does not refuse yet.
        self.raise_firewall()?;
        Ok(applied)
    }

    /// Everything but open sockets.
    fn bind(&mut self, binding: &Binding) -> Result<Applied, String> {
        let mark = mark(&binding.rule)?;
        self.judge.set_rule(mark)?;
        let id = binding.rule.id;
        let mut programs: Vec<ProgramKey> = binding.programs.clone();
        let file = binding.path.as_ref().and_then(|path| self.judge.file_at(path));
        programs.extend(file.filter(|file| !binding.programs.contains(file)));
        // Programs first: who executes one from now on is bound by the kernel, who did before is found below.
        for &program in &programs {
            self.judge.bind_program(program, id)?;
        }
        let mut roots = binding.processes.clone();
        roots.extend(self.judge.running(&programs)?);
        let bound = self.judge.bind_family(&roots, id)?;
        Ok(Applied { bound, programs })
    }

    /// Frees everybody of these rules. Nothing here can fail in a way that leaves a rule in force: an emptied slot
    /// refuses nothing, whatever is still bound to it.
    fn lift(&mut self, ids: &[RuleId]) {
        for &id in ids {
            if let Err(reason) = self.judge.clear_rule(id) {
                tracing::error!(rule = id.0, reason, "a rule cannot be taken out of force");
            }
        }
        if let Err(reason) = self.judge.settle() {
            tracing::warn!(reason, "open sockets keep the marks of a rule that is gone");
        }
        if let Err(reason) = self.judge.sweep() {
            tracing::warn!(reason, "bindings to rules that are gone stay");
        }
        if self.judge.is_idle() {
            self.lower_firewall();
        }
    }

    /// The table is there while a rule is. Without a firewall that works the kernel programs refuse alone.
    fn raise_firewall(&mut self) -> Result<(), String> {
        if self.hold.is_some() {
            return Ok(());
        }
        let installed = self.firewall.as_mut().map(|firewall| firewall.install());
        match installed {
            Some(Ok(shape)) => {
                self.hold = Some(shape.hold);
                tracing::info!(?shape, "the firewall's table is in force");
                self.listen();
                self.judge.set_firewall(true)
            }
            other => {
                if let Some(Err(error)) = other {
                    let error = escape(error.to_string().as_bytes());
                    tracing::warn!(error, "no firewall: the kernel programs refuse alone");
                }
                self.judge.set_firewall(false)
            }
        }
    }

    fn lower_firewall(&mut self) {
        self.packets = None;
        if let Some(firewall) = self.firewall.as_mut().filter(|_| self.hold.take().is_some())
            && let Err(error) = firewall.release()
        {
            tracing::warn!(error = %escape(error.to_string().as_bytes()), "the firewall's table stays; it refuses nothing");
        }
    }
}

fn path_of(kept: &KeptRule) -> Option<Text> {
    kept.by_path.then(|| kept.rule.subject.exe().clone())
}

/// What a rule means to the kernel.
fn mark(rule: &Rule) -> Result<Mark, String> {
    let mut flags = match rule.ways {
        Ways::Both => 0,
        Ways::Outbound => INBOUND_FREE,
        Ways::Inbound => OUTBOUND_FREE,
    };
    if rule.extent == Extent::Everywhere {
        flags |= LOCAL_TOO;
    }
    if rule.answer == Answer::Drop {
        flags |= SILENT;
    }
    Mark::refused(rule.id.0, flags).ok_or_else(|| format!("rule {} has no mark", rule.id))
}

/// Starts the thread. It ends when nobody can order changes any more; what is in force then depends on who else
/// holds it.
///
/// # Errors
/// If there can be no thread.
pub fn start(
    mut enforcer: Enforcer,
    changes: Receiver<Change>,
    done: Sender<Input>,
) -> io::Result<thread::JoinHandle<()>> {
    thread::Builder::new().name("rules".into()).spawn(move || {
        let began = Instant::now();
        let (mut next_look, mut next_patrol) = (began + LOOK_EVERY, began + PATROL_EVERY);
        loop {
            // Also while changes come in all the time.
            let now = Instant::now();
            if now >= next_look {
                enforcer.look_after();
                next_look = now + LOOK_EVERY;
                if !tell_keeping(&mut enforcer, &done) {
                    return;
                }
            }
            let is_idle = enforcer.judge.is_idle();
            if now >= next_patrol && !is_idle {
                enforcer.patrol();
                next_patrol = now + PATROL_EVERY;
            }
            let wake = if is_idle { next_look } else { next_look.min(next_patrol) };
            match changes.recv_deadline(wake) {
                Ok(change) => {
                    let result = enforcer.apply(&change);
                    if let Err(reason) = &result {
                        tracing::warn!(reason, "a change of rules was undone");
                    }
                    // First, so that whoever hears that it is done can learn that it would not outlive a restart.
                    let is_heard = tell_keeping(&mut enforcer, &done)
                        && done.send(Input::Applied { id: change.id, result }).is_ok();
                    if !is_heard {
                        return;
                    }
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    })
}

/// Tells how rules are kept, if that has changed. Whether anybody listens.
fn tell_keeping(enforcer: &mut Enforcer, done: &Sender<Input>) -> bool {
    enforcer.keeping_news().is_none_or(|line| done.send(Input::Keeping(line)).is_ok())
}

#[cfg(test)]
mod tests;

//! The hold on what the kernel programs refuse: rules in force, and who is bound to them.
//!
//! Everything works through descriptors that are open already. On Linux 5.19 and later it needs no capability but
//! those for other processes' sockets: `CAP_SYS_PTRACE` and `CAP_NET_ADMIN`.

mod destroy;
mod entries;
mod following;
mod held;
mod inherited;
mod own;
mod programs;
mod sockets;

use std::{
    collections::{HashMap as Map, HashSet},
    io,
    os::fd::{AsFd, OwnedFd},
};

use aya::{
    Ebpf,
    maps::{Array, HashMap, MapData, MapError},
};
use sekhmet_common::kernel::{
    Policy, ProcessKey, ProgramKey, RuleSlot, Switch, Task,
    mark::{Mark, RULE_MAX},
    policy::{BOUND_MAX, RULES_MAX},
};

use self::{
    entries::{children, count, get, remove, slot, without},
    following::{Patrol, Walker},
};
pub use self::{
    inherited::{FormerMarks, Inherited},
    sockets::Enforced,
};
use super::{
    attach::Links,
    load::{LoadError, take_hash, take_typed},
    probes::Outcome,
    reading::rows,
    sys,
};

/// The programs without which a process can go around its block.
const NEEDED: [&str; 6] =
    ["socket_create", "process_fork", "connect4", "connect6", "packet_out", "packet_in"];

/// Passes over a family that keeps growing.
const PASSES_MAX: usize = 16;

/// Elements of a hash map read at a time.
const BATCH: usize = 4096;

/// Why a rule or a binding was not taken.
#[derive(Debug, thiserror::Error)]
pub enum PolicyError {
    /// No rule can have this number.
    #[error("{0} is no number of a rule")]
    Number(u32),
    /// The only slot in which the rule can stand has another one.
    #[error("rule {0} cannot stand beside rule {1}: choose another number")]
    Taken(u32, u32),
    /// The rule does not stand in the table.
    #[error("there is no rule {0}")]
    NoRule(u32),
    /// The process or program is bound to as many rules as it can be.
    #[error("{BOUND_MAX} rules apply to it already, which is the most: take one of them away first")]
    TooManyRules,
    /// There are children faster than they can be bound; what was bound stays so.
    #[error("the family grows faster than it can be bound")]
    Growing,
    /// The kernel refused, mostly for want of room.
    #[error("the kernel refused: {0}")]
    Map(#[from] MapError),
    /// An iterator or a map could not be read.
    #[error("the kernel cannot be asked: {0}")]
    Io(#[from] io::Error),
}

/// The maps by which the kernel programs judge. Dropping it changes nothing in them. The programs stay attached as
/// long as this or the [`Kernel`](super::Kernel) lives.
pub struct Policies {
    switch: Array<MapData, Switch>,
    rules: Array<MapData, RuleSlot>,
    processes: HashMap<MapData, ProcessKey, Policy>,
    programs: HashMap<MapData, ProgramKey, Policy>,
    /// The same two maps, to be read whole.
    all_processes: OwnedFd,
    all_programs: OwnedFd,
    /// The socket storage in which a bound socket has its binding.
    bound_sockets: OwnedFd,
    /// The same of former helpers, until open sockets have followed for the first time.
    former: Vec<FormerMarks>,
    has_settled: bool,
    walker: Walker,
    patrol: Patrol,
    /// What stands in `switch`.
    now: Switch,
    /// What stands in `rules`, by slot.
    standing: Map<u32, RuleSlot>,
    tasks: Option<OwnedFd>,
    held: Option<OwnedFd>,
    owned: Option<OwnedFd>,
    names: Option<OwnedFd>,
    net_ns: u32,
    missing: Vec<&'static str>,
    /// Second descriptors of all programs' links.
    hooks: Vec<(&'static str, OwnedFd)>,
}

/// Inode number of the network namespace of this process, in which the firewall acts; 0 if it cannot be told.
pub(super) fn own_net_ns() -> u32 {
    let inode = rustix::fs::stat("/proc/self/ns/net").map(|stat| stat.st_ino);
    inode.ok().and_then(|inode| u32::try_from(inode).ok()).unwrap_or(0)
}

/// The cookie of the same namespace (`SO_NETNS_COOKIE`, since Linux 5.14); 0 if the kernel does not tell it.
pub(super) fn own_net_cookie() -> u64 {
    held::own_net_cookie().unwrap_or_default()
}

impl Policies {
    /// Takes the maps and iterators out of what was loaded.
    pub(super) fn take(
        ebpf: &mut Ebpf,
        links: &mut Links,
        outcomes: &[Outcome],
        net_ns: u32,
    ) -> Result<Self, LoadError> {
        let (processes, programs) = (take_hash(ebpf, "POLICIES")?, take_hash(ebpf, "PROGRAMS")?);
        let copy = |map: &MapData| map.fd().as_fd().try_clone_to_owned();
        let (Ok(all_processes), Ok(all_programs)) = (copy(&processes), copy(&programs)) else {
            return Err(LoadError::Map("POLICIES"));
        };
        let Some(Ok(bound_sockets)) = ebpf.map("BOUND_SOCKETS").map(|map| match map {
            aya::maps::Map::SkStorage(data) => copy(data),
            _ => Err(io::ErrorKind::InvalidData.into()),
        }) else {
            return Err(LoadError::Map("BOUND_SOCKETS"));
        };
        let hooks = links.hooks.iter().map(|(name, link)| Ok((*name, link.try_clone()?)));
        let hooks = hooks.collect::<io::Result<_>>().map_err(|_full| LoadError::Map("POLICIES"))?;
        let refused = outcomes.iter().filter(|outcome| !outcome.attached());
        let tasks = links.tasks.as_ref().and_then(|link| link.try_clone().ok());
        Ok(Self {
            switch: take_typed(ebpf, "SWITCH")?,
            rules: take_typed(ebpf, "RULES")?,
            processes: HashMap::try_from(aya::maps::Map::HashMap(processes))
                .map_err(|_other| LoadError::Map("POLICIES"))?,
            programs: HashMap::try_from(aya::maps::Map::HashMap(programs))
                .map_err(|_other| LoadError::Map("PROGRAMS"))?,
            all_processes,
            all_programs,
            bound_sockets,
            former: Vec::new(),
            has_settled: false,
            walker: Walker::new(ebpf),
            patrol: Patrol::default(),
            now: Switch::default(),
            standing: Map::new(),
            tasks,
            held: links.held.take(),
            owned: links.owned.take(),
            names: links.names.take(),
            net_ns,
            missing: refused
                .map(|outcome| outcome.probe.program)
                .filter(|program| NEEDED.contains(program))
                .collect(),
            hooks,
        })
    }

    /// The programs that are missing for a block to hold. If there is one, nothing should be blocked here.
    pub fn missing(&self) -> &[&'static str] {
        &self.missing
    }

    /// Takes over what former helpers knew of sockets, for the first [`Self::enforce`].
    pub fn take_over(&mut self, marks: Vec<FormerMarks>) {
        self.former = marks;
    }

    /// Whether the firewall acts on marks. If not, the programs refuse connections themselves, also in this network
    /// namespace; programs then read `EPERM` instead of "connection refused".
    ///
    /// # Errors
    /// What the kernel says.
    pub fn set_firewall(&mut self, acts: bool) -> Result<(), PolicyError> {
        self.flip(Switch { alone: u32::from(!acts), ..self.now })
    }

    /// Puts a rule in force, or changes what it refuses. Whoever is bound to its number is concerned at once.
    ///
    /// # Errors
    /// [`PolicyError::Number`] for a mark without one, [`PolicyError::Taken`], or what the kernel says.
    pub fn set_rule(&mut self, mark: Mark) -> Result<(), PolicyError> {
        self.stand(RuleSlot { number: mark.rule(), mark: mark.bits() })
    }

    /// Lets a rule refuse nothing for a while. Processes stay bound to it, and their children will be.
    ///
    /// # Errors
    /// As [`Self::set_rule`].
    pub fn rest_rule(&mut self, number: u32) -> Result<(), PolicyError> {
        self.stand(RuleSlot { number, mark: 0 })
    }

    /// Takes a rule away: everybody who is bound to it is free of it at once, and then bound no more.
    /// [`Self::enforce`] gives sockets their own marks back. After both, and a [`Self::sweep`] for what was born
    /// meanwhile, another rule may have the number.
    ///
    /// # Errors
    /// What the kernel says. A rule that does not stand is no error.
    pub fn clear_rule(&mut self, number: u32) -> Result<(), PolicyError> {
        let slot = slot(number);
        if self.standing.get(&slot).is_none_or(|rule| rule.number != number) {
            return Ok(());
        }
        self.rules.set(slot, RuleSlot::default(), 0)?;
        self.standing.remove(&slot);
        self.flip(Switch { rules: count(self.standing.len()), ..self.now })?;
        for process in self.bound(number)? {
            self.unbind(process, number)?;
        }
        for (program, _) in self.list_programs()?.iter().filter(|(_, policy)| policy.rules.contains(&number))
        {
            self.unbind_program(*program, number)?;
        }
        Ok(())
    }

    /// The lowest number above `after`, or from 1 again, under which a rule can stand beside the others.
    pub fn free_number(&self, after: u32) -> Option<u32> {
        let numbers = (after.saturating_add(1)..=RULE_MAX).chain(1..=after.min(RULE_MAX));
        numbers.take(RULES_MAX).find(|number| !self.standing.contains_key(&slot(*number)))
    }

    /// The process that has this number now.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn find_process(&self, tgid: u32) -> io::Result<Option<ProcessKey>> {
        Ok(self.list_tasks()?.into_iter().map(|task| task.process).find(|key| key.tgid == tgid))
    }

    /// Binds one process to a rule. Sockets that it has open already follow with [`Self::enforce`].
    ///
    /// # Errors
    /// [`PolicyError::NoRule`], [`PolicyError::TooManyRules`], or what the kernel says.
    pub fn bind(&mut self, process: ProcessKey, number: u32) -> Result<(), PolicyError> {
        let policy = self.with(get(&self.processes, &process)?, number)?;
        Ok(self.processes.insert(process, policy, 0)?)
    }

    /// Binds processes and all their living descendants, and gives all that are bound to the rule then.
    ///
    /// Parents first, then a look for children, until there is nobody new: a child that is born behind the look
    /// has inherited the binding in the kernel. Descendants whose parent has ended belong to nobody any more; who
    /// knows them names them among the roots.
    ///
    /// # Errors
    /// As [`Self::bind`]; what was bound before an error stays so.
    pub fn bind_family(
        &mut self,
        roots: &[ProcessKey],
        number: u32,
    ) -> Result<HashSet<ProcessKey>, PolicyError> {
        let mut family: HashSet<ProcessKey> = HashSet::new();
        let mut new: Vec<ProcessKey> = roots.to_vec();
        for _pass in 0..PASSES_MAX {
            for process in &new {
                self.bind(*process, number)?;
            }
            family.extend(new.drain(..));
            new = children(&self.list_tasks()?, &family);
            if new.is_empty() {
                return Ok(family);
            }
        }
        Err(PolicyError::Growing)
    }

    /// Frees one process of a rule; not its children.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn unbind(&mut self, process: ProcessKey, number: u32) -> Result<(), PolicyError> {
        if let Some(policy) = get(&self.processes, &process)? {
            match without(policy, number) {
                Some(policy) => self.processes.insert(process, policy, 0)?,
                None => remove(&mut self.processes, &process)?,
            }
        }
        Ok(())
    }

    /// Every process that is bound to a rule now, those included that a parent or a program bound.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn bound(&self, number: u32) -> io::Result<Vec<ProcessKey>> {
        let all = self.list_bound()?;
        Ok(all.into_iter().filter(|(_, policy)| policy.rules.contains(&number)).map(|(key, _)| key).collect())
    }

    /// Removes bindings that mean nothing any more: of processes that have ended, to rules that are gone. Gives
    /// how many processes are left.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn sweep(&mut self) -> Result<usize, PolicyError> {
        // In this order: a process that is bound meanwhile is among the tasks.
        let bound = self.list_bound()?;
        let alive: HashSet<ProcessKey> = self.list_tasks()?.into_iter().map(|task| task.process).collect();
        let mut left = 0;
        for (process, policy) in bound {
            let kept =
                Policy { rules: policy.rules.map(|number| if self.stands(number) { number } else { 0 }) };
            if !alive.contains(&process) || kept == Policy::default() {
                remove(&mut self.processes, &process)?;
            } else {
                left += 1;
                if kept != policy {
                    self.processes.insert(process, kept, 0)?;
                }
            }
        }
        for (program, policy) in self.list_programs()? {
            if !policy.rules.iter().any(|number| self.stands(*number)) {
                remove(&mut self.programs, &program)?;
            }
        }
        self.count_programs()?;
        Ok(left)
    }

    fn stand(&mut self, rule: RuleSlot) -> Result<(), PolicyError> {
        if rule.number == 0 || rule.number > RULE_MAX {
            return Err(PolicyError::Number(rule.number));
        }
        let slot = slot(rule.number);
        if let Some(other) = self.standing.get(&slot).filter(|other| other.number != rule.number) {
            return Err(PolicyError::Taken(rule.number, other.number));
        }
        self.rules.set(slot, rule, 0)?;
        self.standing.insert(slot, rule);
        self.flip(Switch { rules: count(self.standing.len()), ..self.now })
    }

    fn stands(&self, number: u32) -> bool {
        number != 0 && self.standing.get(&slot(number)).is_some_and(|rule| rule.number == number)
    }

    fn flip(&mut self, switch: Switch) -> Result<(), PolicyError> {
        self.switch.set(0, switch, 0)?;
        self.now = switch;
        Ok(())
    }

    /// `policy` with one more rule, in a place that is free or whose rule is gone.
    fn with(&self, policy: Option<Policy>, number: u32) -> Result<Policy, PolicyError> {
        if !self.stands(number) {
            return Err(PolicyError::NoRule(number));
        }
        let mut policy = policy.unwrap_or_default();
        if !policy.rules.contains(&number) {
            let place = policy.rules.iter_mut().find(|bound| !self.stands(**bound));
            *place.ok_or(PolicyError::TooManyRules)? = number;
        }
        Ok(policy)
    }

    fn list_bound(&self) -> io::Result<Vec<(ProcessKey, Policy)>> {
        sys::read_hash(self.all_processes.as_fd(), BATCH)
    }

    fn list_tasks(&self) -> io::Result<Vec<Task>> {
        self.tasks.as_ref().map_or_else(|| Err(io::ErrorKind::Unsupported.into()), rows)
    }
}

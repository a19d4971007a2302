//! Takes in one event after the other.

use super::{place::Put, *};

/// Without events for longer than this, nothing was recorded in between: 2 s, eight default ticks.
const GAP_NANOS: u64 = 2_000_000_000;

impl Ledger {
    /// Takes in the next event of the stream.
    pub fn apply(&mut self, event: &Event) {
        self.events += 1;
        self.now = self.now.max(event.at());
        match event {
            Event::SnapshotBegin { at, watching_since, .. } => self.begin_snapshot(*at, *watching_since),
            Event::SnapshotEnd { .. } => self.end_snapshot(),
            Event::ProcessStarted { process, .. } | Event::ProcessChanged { process, .. } => {
                self.know_process(process);
            }
            Event::ProcessExited { at, id, exit_status } => {
                if let Some(info) = self.procs.get_mut(&Some(*id)).and_then(|p| p.info.as_mut()) {
                    (info.exited_at, info.exit_status) = (Some(*at), *exit_status);
                }
            }
            Event::ProcessGone { at, id } => self.forget_process(*id, *at),
            Event::FlowOpened { at, flow } => self.open_flow(*at, flow),
            Event::FlowChanged { .. } => self.change_flow(event),
            Event::FlowClosed { at, id, end_reason, counters } => {
                self.count(*at, *id, *counters);
                self.rework(*id, |flow| {
                    (flow.state, flow.closed_at, flow.end_reason) =
                        (FlowState::Closed, Some(*at), Some(*end_reason));
                });
            }
            Event::FlowGone { id, .. } => self.drop_flow(*id),
            Event::Traffic { at, flows } => self.count_all(*at, flows),
            Event::Others { at, tx_bytes, rx_bytes, open_flows, .. } => {
                self.count_others(*at, *rx_bytes, *tx_bytes, *open_flows);
            }
            Event::ProcessTotals { at, id, tx_bytes, rx_bytes } => {
                self.count_unlisted(*at, *id, *rx_bytes, *tx_bytes);
            }
            Event::FileAccessed { access, .. } => {
                let reader = self.reader(access.process);
                self.secrets.open(access, reader);
            }
            Event::FileAccessGone { id, .. } => self.secrets.close(*id),
            Event::ContactAfter { contact, .. } => self.secrets.reach(contact),
            // The mirror alone keeps these.
            Event::Coverage { .. }
            | Event::Balance { .. }
            | Event::Lost { .. }
            | Event::RuleAdded { .. }
            | Event::RuleRemoved { .. }
            | Event::ProcessRules { .. }
            | Event::Refused { .. }
            | Event::RuleHits { .. }
            | Event::RefusalGone { .. }
            | Event::WatchEntryAdded { .. }
            | Event::WatchEntryRemoved { .. } => {}
        }
        self.mirror.apply(event);
        self.last_event = Some(event.at());
        if !self.in_snapshot {
            self.generation += 1;
        }
    }

    fn begin_snapshot(&mut self, at: Timestamp, watching_since: Timestamp) {
        let same_helper = self.mirror.header().is_some_and(|h| h.watching_since == watching_since);
        let silence = self.last_event.map_or(0, |last| at.nanos_since(last));
        if silence > GAP_NANOS
            && let Some(last) = self.last_event
        {
            self.gaps.push(Gap { from: second_of(last) + 1, to: second_of(at).saturating_sub(1) });
        }
        self.in_snapshot = true;
        self.resumed = same_helper && silence <= GAP_NANOS;
        if same_helper {
            self.procs.values_mut().for_each(|p| p.seen = false);
            self.connections.values_mut().for_each(|c| c.seen = false);
        } else {
            // Another helper issues the same ids for other things. What programs moved stays.
            self.procs.clear();
            self.connections = SlotMap::default();
            self.host_tallies = Slots::default();
            self.secrets.clear();
            for group in self.programs.values_mut().chain(self.users.values_mut()) {
                group.members.clear();
                group.tally.unlist();
            }
            self.total.unlist();
        }
    }

    fn end_snapshot(&mut self) {
        self.in_snapshot = false;
        let unseen: Vec<FlowId> = self.connections.values().filter(|c| !c.seen).map(|c| c.flow.id).collect();
        unseen.into_iter().for_each(|id| self.drop_flow(id));
        for proc in self.procs.values_mut().filter(|p| !p.seen && p.info.is_some()) {
            proc.gone = true;
        }
    }

    fn know_process(&mut self, process: &Process) {
        let member = Some(process.id);
        let (program, user) = (key::program_of(process), GroupKey::User(process.uid));
        let now = self.second();
        let moved = match self.procs.get_mut(&member) {
            Some(proc) => {
                let mut info = process.clone();
                if let Some(old) = &proc.info
                    && info.exited_at.is_none()
                {
                    (info.exited_at, info.exit_status) = (old.exited_at, old.exit_status);
                }
                proc.info = Some(info);
                proc.label = key::process_label(process);
                proc.words = ProcWords::of(process, &proc.label);
                (proc.gone, proc.seen) = (false, true);
                proc.tally.expire(now);
                (proc.program != program || proc.user != user).then(|| proc.tally.clone())
            }
            None => {
                let label = key::process_label(process);
                let proc = Proc {
                    info: Some(process.clone()),
                    words: ProcWords::of(process, &label),
                    label,
                    program: program.clone(),
                    user: user.clone(),
                    hosts: BTreeMap::new(),
                    fading: BTreeSet::new(),
                    host_words: HostWords::default(),
                    tally: Tally::default(),
                    gone: false,
                    seen: true,
                };
                self.procs.insert(member, proc);
                None
            }
        };
        if let Some(tally) = moved {
            self.leave_groups(member, &tally);
            if let Some(proc) = self.procs.get_mut(&member) {
                (proc.program, proc.user) = (program.clone(), user.clone());
            }
            join(&mut self.programs, &program, member, Some(process), &tally);
            join(&mut self.users, &user, member, Some(process), &tally);
        } else {
            join(&mut self.programs, &program, member, Some(process), &Tally::default());
            join(&mut self.users, &user, member, Some(process), &Tally::default());
        }
        if self.secrets.marks().contains_key(&process.id) {
            let reader = self.reader(process.id);
            self.secrets.rename(process.id, &reader);
        }
    }

    /// A process as it is called now.
    fn reader(&self, id: ProcessId) -> Reader {
        let proc = self.procs.get(&Some(id));
        let program = proc.map_or(GroupKey::Kernel, |p| p.program.clone());
        Reader {
            program_name: self.programs.get(&program).map(|g| g.label.clone()).unwrap_or_default(),
            program,
            name: proc.map(|p| p.label.clone()).unwrap_or_default(),
            exe: proc.and_then(|p| p.info.as_ref()).map(|p| p.exe.clone()).unwrap_or_default(),
            pid: proc.and_then(|p| p.info.as_ref()).map_or(0, |p| p.pid),
            process: proc.and_then(|p| p.info.clone()).map(Box::new),
        }
    }

    fn leave_groups(&mut self, member: Member, tally: &Tally) {
        let Some(proc) = self.procs.get(&member) else { return };
        for (groups, key) in [(&mut self.programs, &proc.program), (&mut self.users, &proc.user)] {
            if let Some(group) = groups.get_mut(key) {
                group.members.remove(&member);
                group.tally.release(tally);
                if group.members.is_empty() && !group.tally.talked(true) {
                    groups.remove(key);
                }
            }
        }
    }

    fn forget_process(&mut self, id: ProcessId, at: Timestamp) {
        if let Some(proc) = self.procs.get_mut(&Some(id)) {
            proc.gone = true;
            if let Some(info) = &mut proc.info {
                info.exited_at = info.exited_at.or(Some(at));
            }
        }
    }

    /// The kernel, or a process that the helper has not described: both get a place in the tree.
    fn ensure_member(&mut self, member: Member) {
        if self.procs.contains_key(&member) {
            return;
        }
        let (program, user) = (GroupKey::Kernel, GroupKey::User(0));
        join(&mut self.programs, &program, member, None, &Tally::default());
        join(&mut self.users, &user, member, None, &Tally::default());
        let proc = Proc {
            info: None,
            label: String::new(),
            words: ProcWords::default(),
            program,
            user,
            hosts: BTreeMap::new(),
            fading: BTreeSet::new(),
            host_words: HostWords::default(),
            tally: Tally::default(),
            gone: false,
            seen: true,
        };
        self.procs.insert(member, proc);
    }

    fn open_flow(&mut self, at: Timestamp, flow: &Flow) {
        let known = self.connections.get(&flow.id).map(|c| c.flow.counters);
        // Bytes from before anybody watched belong to no second of the window.
        let unwatched = (self.in_snapshot && !(self.resumed && known.is_some()))
            || flow.direction == sekhmet_common::flow::Direction::Unknown && known.is_none();
        let before = if unwatched { flow.counters } else { known.unwrap_or_default() };
        if known.is_some() {
            self.rework(flow.id, |old| *old = Flow { counters: before, ..flow.clone() });
        } else {
            self.ensure_member(flow.process);
            let last = if self.in_snapshot { flow.closed_at.unwrap_or(flow.opened_at) } else { at };
            let side = Side { last, listed: 1, open: is_open(flow), ..Side::default() };
            let connection = Connection {
                flow: Flow { counters: before, ..flow.clone() },
                side,
                reach: Reach::of(flow.remote.addr),
                slot: None,
                seen: true,
            };
            self.connections.insert(flow.id, connection);
            self.place(flow.id, Put::In);
        }
        if let Some(c) = self.connections.get_mut(&flow.id) {
            c.seen = true;
        }
        self.count(at, flow.id, flow.counters);
    }

    fn change_flow(&mut self, event: &Event) {
        let Event::FlowChanged { id, process, direction, local, remote, remote_name, state, .. } = event
        else {
            return;
        };
        self.ensure_member(*process);
        self.rework(*id, |flow| {
            (flow.process, flow.direction, flow.local) = (*process, *direction, *local);
            (flow.remote, flow.state) = (*remote, *state);
            flow.remote_name.clone_from(remote_name);
        });
    }

    /// Changes a flow, taking its figures out of every row above it before and putting them back after.
    fn rework(&mut self, id: FlowId, change: impl FnOnce(&mut Flow)) {
        if !self.connections.contains(&id) {
            return;
        }
        self.place(id, Put::Out);
        if let Some(c) = self.connections.get_mut(&id) {
            change(&mut c.flow);
            c.reach = Reach::of(c.flow.remote.addr);
            c.side.open = is_open(&c.flow);
            let process = c.flow.process;
            self.ensure_member(process);
        }
        self.place(id, Put::In);
    }

    fn drop_flow(&mut self, id: FlowId) {
        // The bytes stay with the rows above; only the flow itself leaves the lists.
        self.place(id, Put::Unlist);
        self.connections.remove(&id);
    }
}

fn is_open(flow: &Flow) -> u32 {
    u32::from(flow.state != FlowState::Closed)
}

fn join(
    groups: &mut HashMap<GroupKey, Group>,
    key: &GroupKey,
    member: Member,
    process: Option<&Process>,
    tally: &Tally,
) {
    let group = groups.entry(key.clone()).or_default();
    group.members.insert(member);
    group.tally.absorb(tally);
    if group.label.is_empty() || process.is_some() {
        group.label = key::group_label(key, process);
        group.lower = group.label.to_lowercase();
    }
}

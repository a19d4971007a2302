//! Who listens, and what is said to whom at each tick.

use std::sync::Arc;

use sekhmet_common::{
    coverage::{KindBalance, Source},
    event::Event,
    mirror::Others,
    time::Timestamp,
};

use super::{
    Engine,
    deadlines::SECOND,
    input::{ClientId, Effect, Scope, StatusReport},
};

impl Engine {
    /// Lets a client in: first everybody hears what is pending, then it gets the state.
    pub(super) fn subscribe(
        &mut self,
        now: Timestamp,
        client: ClientId,
        scope: Scope,
        out: &mut Vec<Effect>,
    ) {
        self.unsubscribe(client, out);
        self.say_pending(now, out);
        if self.clients.is_empty() {
            out.push(Effect::Watched(true));
        }
        self.clients.insert(client, scope);
        self.ledger.views.entry(scope).or_default();
        self.send_snapshot(now, client, scope, out);
    }

    /// Gives a client that fell behind the state once more.
    pub(super) fn resync(&mut self, now: Timestamp, client: ClientId, out: &mut Vec<Effect>) {
        if let Some(&scope) = self.clients.get(&client) {
            self.say_pending(now, out);
            self.send_snapshot(now, client, scope, out);
        }
    }

    /// A client went away.
    pub(super) fn unsubscribe(&mut self, client: ClientId, out: &mut Vec<Effect>) {
        let Some(scope) = self.clients.remove(&client) else { return };
        if !self.clients.values().any(|&s| s == scope) {
            self.ledger.views.remove(&scope);
        }
        if self.clients.is_empty() {
            out.push(Effect::Watched(false));
        }
    }

    /// Says what gathered since the last tick.
    pub(super) fn publish(&mut self, now: Timestamp, out: &mut Vec<Effect>) {
        for (kind, count) in self.books.take_untold() {
            self.ledger.announce(&Event::Lost { at: now, kind, count });
        }
        self.tell_refusals(now);
        self.tell_accesses(now);
        self.tell_contacts(now);
        self.write_down_seen();
        self.draw_balance(now, out);
        let elapsed_ns = self.deadlines.elapsed_ns();
        for (&scope, view) in &mut self.ledger.views {
            if let Scope::Own(uid) = scope {
                view.tell_others(self.ledger.totals.others(uid, now), elapsed_ns, SECOND);
            }
        }
        self.say_pending(now, out);
    }

    /// The state as a snapshot for one scope.
    pub fn snapshot(&self, scope: Scope, now: Timestamp) -> Vec<Event> {
        self.ledger.owners.snapshot(scope, self.ledger.mirror(), self.others(scope, now), now)
    }

    /// The total of others as the clients of this scope know it, or as it is if there are none yet.
    fn others(&self, scope: Scope, now: Timestamp) -> Option<Others> {
        let Scope::Own(uid) = scope else { return None };
        let told = self.ledger.views.get(&scope).and_then(|v| v.told_others());
        Some(told.unwrap_or_else(|| self.ledger.totals.others(uid, now)))
    }

    fn send_snapshot(&mut self, now: Timestamp, client: ClientId, scope: Scope, out: &mut Vec<Effect>) {
        let elapsed_ns = self.deadlines.elapsed_ns();
        let others = self.others(scope, now);
        if let Some((view, others)) = self.ledger.views.get_mut(&scope).zip(others)
            && view.told_others().is_none()
        {
            view.note_others(others, elapsed_ns);
        }
        out.push(Effect::Snapshot { client, events: self.snapshot(scope, now).into() });
    }

    fn say_pending(&mut self, now: Timestamp, out: &mut Vec<Effect>) {
        let mut behind = Vec::new();
        let scopes: Vec<Scope> = self.ledger.views.keys().copied().collect();
        for scope in scopes {
            match self.ledger.take(scope, now) {
                Some(events) if events.is_empty() => {}
                Some(events) => out.push(Effect::Publish { scope, events: events.into() }),
                None => behind.push(scope),
            }
        }
        for scope in behind {
            let events: Arc<[Event]> = self.snapshot(scope, now).into();
            for (&client, _) in self.clients.iter().filter(|&(_, &s)| s == scope) {
                out.push(Effect::Snapshot { client, events: events.clone() });
            }
        }
    }

    /// Replaces a line of the coverage about what is kept. These are the last ones. Told at once: whoever learns next
    /// that a change is in force may want to know whether it will last.
    pub(super) fn note_keeping(&mut self, now: Timestamp, line: Source, out: &mut Vec<Effect>) {
        let before = self.keeping.len();
        match self.keeping.iter_mut().find(|known| known.capability == line.capability) {
            Some(known) => *known = line,
            None => self.keeping.push(line),
        }
        if !self.is_covered {
            // It goes with the coverage, which is to come.
            return;
        }
        let mode = self.ledger.mirror().header().map(|h| h.mode).unwrap_or_default();
        let mut sources = self.ledger.mirror().coverage().to_vec();
        sources.truncate(sources.len().saturating_sub(before));
        sources.extend_from_slice(&self.keeping);
        self.ledger.announce(&Event::Coverage { at: now, mode, sources });
        self.tell_status(self.ledger.mirror().balance().to_vec(), out);
    }

    /// Tells the balance and the status at most once a second, and only what is new.
    fn draw_balance(&mut self, now: Timestamp, out: &mut Vec<Effect>) {
        let elapsed_ns = self.deadlines.elapsed_ns();
        if self.balance_due_ns > elapsed_ns {
            return;
        }
        self.balance_due_ns = elapsed_ns.saturating_add(SECOND);
        let kinds = self.books.balance();
        if kinds != self.ledger.mirror().balance() {
            self.ledger.announce(&Event::Balance { at: now, kinds: kinds.clone() });
        }
        self.tell_status(kinds, out);
    }

    fn tell_status(&mut self, balance: Vec<KindBalance>, out: &mut Vec<Effect>) {
        if !self.is_covered {
            // Nobody has said yet how much can be seen.
            return;
        }
        let mode = self.ledger.mirror().header().map(|h| h.mode).unwrap_or_default();
        let report = StatusReport { mode, sources: self.ledger.mirror().coverage().to_vec(), balance };
        if self.told_status.as_ref() != Some(&report) {
            self.told_status = Some(report.clone());
            out.push(Effect::Status(report));
        }
    }
}

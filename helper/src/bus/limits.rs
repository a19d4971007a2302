//! How much of the helper one user and all users together may take up.
//!
//! Everything here is decided on the bus thread before a task is made for a call. What is held while a call
//! or a stream lasts is a [`Permit`]; dropping it gives the place back.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// How many users are remembered; beyond it those that hold nothing are forgotten.
const USERS_MAX: usize = 1024;

/// The figures. `security`: per user, and for all users together.
#[derive(Clone, Debug)]
pub struct Figures {
    /// Calls per second of one user, and how many may come at once.
    pub user_calls: (u32, u32),
    /// Calls per second of all users, and how many may come at once.
    pub all_calls: (u32, u32),
    /// First calls of connections that are not known yet, per second and at once.
    pub newcomers: (u32, u32),
    /// Calls that are being worked on, of one user and of all.
    pub in_flight: (usize, usize),
    /// Authorisation checks that may raise a dialog, of one user and of all.
    pub prompts: (usize, usize),
    /// Open streams, of one user and of all.
    pub streams: (usize, usize),
    /// The most bytes that the body of a message may have.
    pub body_bytes: usize,
}

impl Default for Figures {
    fn default() -> Self {
        Self {
            user_calls: (20, 40),
            all_calls: (200, 200),
            newcomers: (100, 200),
            in_flight: (8, 64),
            prompts: (2, 8),
            streams: (4, 16),
            body_bytes: 64 * 1024,
        }
    }
}

/// Something would exceed its limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("too many {0}")]
pub struct Exceeded(pub &'static str);

/// A place that is taken until this is dropped.
#[derive(Debug)]
pub struct Permit {
    _user: OwnedSemaphorePermit,
    _all: OwnedSemaphorePermit,
}

/// What is allowed, and what is taken.
#[derive(Debug)]
pub struct Limits {
    figures: Figures,
    users: HashMap<u32, User>,
    calls: Bucket,
    newcomers: Bucket,
    all: Places,
    lookups: Arc<Semaphore>,
}

#[derive(Debug)]
struct User {
    calls: Bucket,
    places: Places,
}

#[derive(Debug)]
struct Places {
    in_flight: Arc<Semaphore>,
    prompts: Arc<Semaphore>,
    streams: Arc<Semaphore>,
}

impl Limits {
    /// Nothing taken yet.
    pub fn new(figures: Figures, now: Instant) -> Self {
        Self {
            users: HashMap::new(),
            calls: Bucket::new(figures.all_calls, now),
            newcomers: Bucket::new(figures.newcomers, now),
            all: Places::new(figures.in_flight.1, figures.prompts.1, figures.streams.1),
            lookups: Arc::new(Semaphore::new(figures.in_flight.1)),
            figures,
        }
    }

    /// The most bytes that the body of a message may have.
    pub fn body_bytes(&self) -> usize {
        self.figures.body_bytes
    }

    /// A first call of a connection whose user is not known yet.
    ///
    /// # Errors
    /// [`Exceeded`] if too many such calls come, or are being looked up.
    pub fn newcomer(&mut self, now: Instant) -> Result<OwnedSemaphorePermit, Exceeded> {
        let place = Arc::clone(&self.lookups).try_acquire_owned();
        let place = place.map_err(|_full| Exceeded("new connections"))?;
        self.newcomers.take(now).then_some(place).ok_or(Exceeded("new connections"))
    }

    /// A call. The user's own bucket comes first, so that a flood of one user leaves the common one alone.
    ///
    /// # Errors
    /// [`Exceeded`] if the user or all users together call too often or have too many calls under way.
    pub fn call(&mut self, uid: u32, now: Instant) -> Result<Permit, Exceeded> {
        let all = Arc::clone(&self.all.in_flight);
        let user = self.user(uid, now);
        if !user.calls.take(now) {
            return Err(Exceeded("calls"));
        }
        let permit = take(&user.places.in_flight, &all, "calls under way")?;
        self.calls.take(now).then_some(permit).ok_or(Exceeded("calls"))
    }

    /// A check that may raise a dialog.
    ///
    /// # Errors
    /// [`Exceeded`] if the user or all users together have too many pending.
    pub fn prompt(&mut self, uid: u32, now: Instant) -> Result<Permit, Exceeded> {
        let all = Arc::clone(&self.all.prompts);
        take(&self.user(uid, now).places.prompts, &all, "pending authentications")
    }

    /// A stream.
    ///
    /// # Errors
    /// [`Exceeded`] if the user or all users together have too many open.
    pub fn stream(&mut self, uid: u32, now: Instant) -> Result<Permit, Exceeded> {
        let all = Arc::clone(&self.all.streams);
        take(&self.user(uid, now).places.streams, &all, "streams")
    }

    fn user(&mut self, uid: u32, now: Instant) -> &mut User {
        let figures = &self.figures;
        if self.users.len() >= USERS_MAX && !self.users.contains_key(&uid) {
            self.users.retain(|_, u| !u.is_idle(figures, now));
        }
        self.users.entry(uid).or_insert_with(|| User {
            calls: Bucket::new(figures.user_calls, now),
            places: Places::new(figures.in_flight.0, figures.prompts.0, figures.streams.0),
        })
    }
}

impl User {
    fn is_idle(&mut self, figures: &Figures, now: Instant) -> bool {
        self.places.in_flight.available_permits() == figures.in_flight.0
            && self.places.prompts.available_permits() == figures.prompts.0
            && self.places.streams.available_permits() == figures.streams.0
            && self.calls.is_full(now)
    }
}

impl Places {
    fn new(in_flight: usize, prompts: usize, streams: usize) -> Self {
        let places = |n| Arc::new(Semaphore::new(n));
        Self { in_flight: places(in_flight), prompts: places(prompts), streams: places(streams) }
    }
}

fn take(user: &Arc<Semaphore>, all: &Arc<Semaphore>, what: &'static str) -> Result<Permit, Exceeded> {
    let user = Arc::clone(user).try_acquire_owned().map_err(|_full| Exceeded(what))?;
    let all = Arc::clone(all).try_acquire_owned().map_err(|_full| Exceeded(what))?;
    Ok(Permit { _user: user, _all: all })
}

/// A token bucket: fills at a steady rate up to its burst, each taking costs one.
#[derive(Debug)]
struct Bucket {
    tokens: f64,
    per_second: f64,
    burst: f64,
    filled_at: Instant,
}

impl Bucket {
    fn new((per_second, burst): (u32, u32), now: Instant) -> Self {
        let burst = f64::from(burst);
        Self { tokens: burst, per_second: f64::from(per_second), burst, filled_at: now }
    }

    fn take(&mut self, now: Instant) -> bool {
        self.fill(now);
        let has_one = self.tokens >= 1.0;
        if has_one {
            self.tokens -= 1.0;
        }
        has_one
    }

    fn is_full(&mut self, now: Instant) -> bool {
        self.fill(now);
        self.tokens >= self.burst
    }

    fn fill(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.filled_at).min(Duration::from_secs(3600));
        self.tokens = (self.tokens + passed.as_secs_f64() * self.per_second).min(self.burst);
        self.filled_at = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_user_may_call_in_a_burst_and_then_at_the_rate() {
        let start = Instant::now();
        let mut limits = Limits::new(Figures::default(), start);
        let admitted = (0..100).filter(|_| limits.call(1000, start).is_ok()).count();
        assert_eq!(admitted, 40);
        let later = start + Duration::from_secs(1);
        let admitted = (0..100).filter(|_| limits.call(1000, later).is_ok()).count();
        assert_eq!(admitted, 20);
    }

    #[test]
    fn a_flood_of_one_user_leaves_the_others_their_calls() {
        let start = Instant::now();
        let mut limits = Limits::new(Figures::default(), start);
        let refused = (0..10_000).filter(|_| limits.call(65534, start).is_err()).count();
        assert_eq!(refused, 9_960);
        assert!((0..40).all(|_| limits.call(1000, start).is_ok()));
    }

    #[test]
    fn calls_under_way_are_counted_until_they_end() {
        let now = Instant::now();
        let mut limits = Limits::new(Figures::default(), now);
        let held: Vec<Permit> = (0..8).map(|_| limits.call(1000, now).unwrap()).collect();
        assert_eq!(limits.call(1000, now).unwrap_err(), Exceeded("calls under way"));
        drop(held);
        assert!(limits.call(1000, now).is_ok());
    }

    #[test]
    fn streams_are_limited_per_user_and_in_all() {
        let now = Instant::now();
        let mut limits = Limits::new(Figures::default(), now);
        let mut held = Vec::new();
        for uid in 0..4 {
            held.extend((0..4).map(|_| limits.stream(uid, now).unwrap()));
            assert!(limits.stream(uid, now).is_err());
        }
        assert!(limits.stream(99, now).is_err(), "sixteen in all");
        held.pop();
        assert!(limits.stream(99, now).is_ok());
    }

    #[test]
    fn prompts_are_few() {
        let now = Instant::now();
        let mut limits = Limits::new(Figures::default(), now);
        let _held = [limits.prompt(1, now).unwrap(), limits.prompt(1, now).unwrap()];
        assert!(limits.prompt(1, now).is_err());
        assert!(limits.prompt(2, now).is_ok());
    }

    #[test]
    fn users_who_hold_nothing_are_forgotten() {
        let start = Instant::now();
        let mut limits =
            Limits::new(Figures { all_calls: (1_000_000, 1_000_000), ..Figures::default() }, start);
        let kept = limits.stream(7, start).unwrap();
        for uid in 0..10_000_u32 {
            let now = start + Duration::from_secs(u64::from(uid) * 10);
            assert!(limits.call(uid, now).is_ok());
        }
        assert!(limits.users.len() <= USERS_MAX, "{}", limits.users.len());
        assert!(limits.users.contains_key(&7));
        drop(kept);
    }
}

//! Looks on a thread of its own for what a pattern of the watchlist would match, with the user's own rights.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use crossbeam_channel::{Receiver, Sender, bounded};
use sekhmet_common::pattern::Pattern;

use crate::model::watch::Preview;

mod walk;

pub use walk::{Bounds, walk};

/// Asks for previews and takes them in. Only the last one that was asked for is of interest.
pub struct Previewer {
    questions: Sender<(u64, String)>,
    answers: Receiver<Preview>,
    latest: Arc<AtomicU64>,
    asked: String,
}

impl Previewer {
    /// Starts the thread. `wake` is called when there is an answer, `home` is what `~` stands for.
    ///
    /// # Errors
    /// If the thread cannot be started.
    pub fn spawn(home: Option<String>, wake: impl Fn() + Send + 'static) -> io::Result<Self> {
        // A question that finds the channel full is asked again with the next frame.
        let (questions, inbox) = bounded::<(u64, String)>(1);
        let (outbox, answers) = bounded(4);
        let latest = Arc::new(AtomicU64::new(0));
        let newest = latest.clone();
        std::thread::Builder::new().name("preview".into()).spawn(move || {
            while let Ok((number, text)) = inbox.recv() {
                let is_stale = || newest.load(Ordering::Relaxed) != number;
                let preview = answer(&text, home.as_deref(), &is_stale);
                if !is_stale() && outbox.send(preview).is_err() {
                    return;
                }
                wake();
            }
        })?;
        Ok(Self { questions, answers, latest, asked: String::new() })
    }

    /// Asks for what a pattern matches, unless that was the last question. Returns what stands until then.
    pub fn ask(&mut self, pattern: &str) -> Option<Preview> {
        if pattern == self.asked {
            return None;
        }
        let number = self.latest.fetch_add(1, Ordering::Relaxed) + 1;
        if !pattern.is_empty() && self.questions.try_send((number, pattern.to_owned())).is_err() {
            return None;
        }
        pattern.clone_into(&mut self.asked);
        Some(Preview { pattern: pattern.to_owned(), looking: !pattern.is_empty(), ..Preview::default() })
    }

    /// Whether a question waits for room.
    pub fn is_behind(&self, pattern: &str) -> bool {
        pattern != self.asked
    }

    /// The newest answer to the last question.
    pub fn poll(&self) -> Option<Preview> {
        self.answers.try_iter().filter(|preview| preview.pattern == self.asked).last()
    }
}

fn answer(text: &str, home: Option<&str>, is_stale: &dyn Fn() -> bool) -> Preview {
    // What is no pattern is told by the form; here it matches nothing.
    let found = Pattern::parse_watched(text.trim().as_bytes())
        .map(|pattern| walk(&pattern, text.trim(), home, Bounds::default(), is_stale));
    Preview { pattern: text.to_owned(), ..found.unwrap_or_default() }
}

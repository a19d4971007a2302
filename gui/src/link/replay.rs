//! Plays a recorded log at the pace at which it was recorded.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, Read},
    path::Path,
    time::{Duration, Instant},
};

use sekhmet_common::{
    event::Event,
    log::{self, LINE_MAX},
    time::Timestamp,
};

use super::{Link, Update};

/// Why a log cannot be played.
#[derive(Debug)]
pub enum ReplayError {
    /// The file cannot be read.
    Io(io::Error),
    /// No line of it is an event.
    Empty,
}

impl std::fmt::Display for ReplayError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Io(err) => write!(f, "the log cannot be read: {err}"),
            Self::Empty => write!(f, "the log holds no event that this version knows"),
        }
    }
}

impl std::error::Error for ReplayError {}

impl From<io::Error> for ReplayError {
    fn from(err: io::Error) -> Self {
        Self::Io(err)
    }
}

/// A log and how far it has been played.
pub struct Replay {
    lines: Lines,
    next: Option<Event>,
    begin: Timestamp,
    opened: Instant,
    start: Duration,
    greeted: bool,
    ended_at: Option<Timestamp>,
}

impl Replay {
    /// Opens a log; what happened in its first `start` is taken in at once.
    ///
    /// # Errors
    /// If the file cannot be read or holds no event.
    pub fn open(path: &Path, start: Duration) -> Result<Self, ReplayError> {
        let mut lines = Lines { reader: BufReader::new(File::open(path)?), skipped: 0 };
        let first = lines.next_event()?.ok_or(ReplayError::Empty)?;
        Ok(Self {
            begin: first.at(),
            next: Some(first),
            lines,
            opened: Instant::now(),
            start,
            greeted: false,
            ended_at: None,
        })
    }

    fn present(&self) -> Timestamp {
        let played = self.start.saturating_add(self.opened.elapsed());
        self.begin.plus_nanos(i64::try_from(played.as_nanos()).unwrap_or(i64::MAX))
    }
}

impl Link for Replay {
    fn poll(&mut self) -> Vec<Update> {
        let mut updates = Vec::new();
        if !std::mem::replace(&mut self.greeted, true) {
            updates.push(Update::Connected);
        }
        if self.ended_at.is_some() {
            return updates;
        }
        let (present, mut events) = (self.present(), Vec::new());
        let mut last = self.begin;
        while let Some(event) = self.next.take_if(|event| event.at() <= present) {
            last = event.at();
            events.push(event);
            match self.lines.next_event() {
                Ok(next) => self.next = next,
                Err(err) => tracing::warn!(%err, "the log cannot be read further"),
            }
        }
        if !events.is_empty() {
            updates.push(Update::Events(events));
        }
        if self.next.is_none() {
            // The picture stands still at the last event, and does not go empty behind it.
            self.ended_at = Some(last.max(self.begin));
            updates.push(Update::Ended);
            if self.lines.skipped > 0 {
                tracing::warn!(lines = self.lines.skipped, "lines of the log were no events");
            }
        }
        updates
    }

    fn now(&self) -> Timestamp {
        self.ended_at.unwrap_or_else(|| self.present())
    }

    fn is_replay(&self) -> bool {
        true
    }
}

struct Lines {
    reader: BufReader<File>,
    skipped: u64,
}

impl Lines {
    /// The next event; lines that are none are counted and skipped.
    fn next_event(&mut self) -> io::Result<Option<Event>> {
        loop {
            let mut line = Vec::new();
            let read = (&mut self.reader).take(LINE_MAX as u64 + 2).read_until(b'\n', &mut line)?;
            if read == 0 {
                return Ok(None);
            }
            let event = std::str::from_utf8(&line).ok().and_then(|text| log::from_line(text.trim_end()).ok());
            match event {
                Some(event) => return Ok(Some(event)),
                None => self.skipped += 1,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use sekhmet_common::process::ProcessId;

    use super::*;

    fn gone(second: i64) -> Event {
        Event::ProcessGone { at: Timestamp(second * 1_000_000_000), id: ProcessId(second as u64) }
    }

    fn log_of(lines: &[String]) -> tempfile::NamedTempFile {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        lines.iter().for_each(|line| writeln!(file, "{line}").unwrap());
        file
    }

    #[test]
    fn plays_by_its_own_clock_and_stops_at_the_end() {
        let json = |second| log::to_json(&gone(second)).unwrap().to_string();
        let file = log_of(&[json(100), "rubbish".into(), json(105), json(5_000)]);
        let mut replay = Replay::open(file.path(), Duration::from_secs(10)).unwrap();
        assert_eq!(replay.poll(), [Update::Connected, Update::Events(vec![gone(100), gone(105)])]);
        assert!(replay.now() >= Timestamp(110_000_000_000));
        let mut all = Replay::open(file.path(), Duration::from_secs(100_000)).unwrap();
        assert_eq!(all.poll().last(), Some(&Update::Ended));
        assert_eq!(all.now(), Timestamp(5_000_000_000_000));
        assert_eq!(all.poll(), []);
    }

    #[test]
    fn refuses_what_holds_no_event() {
        let file = log_of(&["rubbish".into()]);
        assert!(matches!(Replay::open(file.path(), Duration::ZERO), Err(ReplayError::Empty)));
        assert!(matches!(Replay::open(Path::new("/nonexistent"), Duration::ZERO), Err(ReplayError::Io(_))));
    }
}

//! `record`: an event log, complete from its snapshot on.

use std::{
    fs::File,
    io::{BufWriter, Write},
    path::Path,
    time::Instant,
};

use sekhmet_common::{display::escape, log, mirror::Mirror};

use crate::{
    arguments::{Common, Record},
    output::{Output, complain},
    session::{Failure, Next, Session},
};

/// `sekhmetctl record FILE`.
pub(crate) fn record(common: &Common, record: &Record) -> Result<(), Failure> {
    let mut session = Session::open(common.options())?;
    let mut sink = Sink::open(&record.file)?;
    let mut mirror = Mirror::new();
    let mut deadline = None;
    let mut count: u64 = 0;
    loop {
        match session.next(deadline)? {
            Next::Events(events) => {
                deadline = deadline.or_else(|| record.time.map(|time| Instant::now() + time));
                for event in &events {
                    mirror.apply(event);
                    let json = log::to_json(event).map_err(|error| Failure::Output(error.into()))?;
                    sink.line(&json.to_string())?;
                    count += 1;
                }
                sink.flush()?;
            }
            Next::Interrupted(reason) => complain(&format!("{reason}; waiting for the helper")),
            Next::Timeout => break,
        }
    }
    sink.flush()?;
    if !mirror.is_complete() {
        complain("the time was over before the snapshot was complete");
    }
    complain(&format!("{count} events"));
    Ok(())
}

enum Sink {
    Standard(Output),
    File(BufWriter<File>, String),
}

impl Sink {
    fn open(path: &Path) -> Result<Self, Failure> {
        if path.as_os_str() == "-" {
            return Ok(Self::Standard(Output::new()));
        }
        let name = escape(path.as_os_str().as_encoded_bytes());
        let file = File::create_new(path).map_err(|error| Failure::File(format!("{name}: {error}")))?;
        Ok(Self::File(BufWriter::new(file), name))
    }

    fn line(&mut self, text: &str) -> Result<(), Failure> {
        match self {
            Self::Standard(out) => out.line(text),
            Self::File(file, name) => {
                writeln!(file, "{text}").map_err(|error| Failure::File(format!("{name}: {error}")))
            }
        }
    }

    fn flush(&mut self) -> Result<(), Failure> {
        match self {
            Self::Standard(out) => out.flush(),
            Self::File(file, name) => file.flush().map_err(|error| Failure::File(format!("{name}: {error}"))),
        }
    }
}

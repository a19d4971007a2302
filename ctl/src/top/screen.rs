//! The terminal as a canvas: another screen, keys one by one, and everything as before at the end.

use std::{
    io::{self, IsTerminal, Read, Write},
    thread,
};

use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};

/// To the alternate screen, cursor hidden (xterm control sequences 1049 and 25).
const OPEN: &str = "\x1b[?1049h\x1b[?25l\x1b[2J";

/// Cursor shown, back to the usual screen.
const CLOSE: &str = "\x1b[?25h\x1b[?1049l";

/// Ctrl-C as a key.
const INTERRUPT: u8 = 3;

/// The terminal while it is drawn on. Dropping it restores what was there.
#[derive(Debug)]
pub(crate) struct Screen {
    before: Option<Termios>,
}

impl Screen {
    /// Takes over the terminal. `stop` is called at `q` and Ctrl-C.
    pub(crate) fn open(stop: impl Fn() -> bool + Send + 'static) -> io::Result<Self> {
        let mut screen = Self { before: None };
        let stdin = io::stdin();
        if stdin.is_terminal() {
            let before = tcgetattr(&stdin)?;
            let mut raw = before.clone();
            // Without ISIG no key can stop the program while the other screen is shown.
            raw.local_modes.remove(LocalModes::ICANON | LocalModes::ECHO | LocalModes::ISIG);
            screen.before = Some(before);
            tcsetattr(&stdin, OptionalActions::Drain, &raw)?;
            thread::Builder::new().name("keys".into()).spawn(move || keys(&stop))?;
        }
        write(OPEN)?;
        Ok(screen)
    }

    /// Shows these lines and nothing else.
    pub(crate) fn draw(&mut self, lines: &[String]) -> io::Result<()> {
        // Each line is cleared behind its end, so that nothing flickers.
        let body = lines.iter().map(|line| format!("{line}\x1b[K")).collect::<Vec<_>>().join("\r\n");
        write(&format!("\x1b[H{body}\x1b[J"))
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        // A terminal that has gone needs nothing restored.
        let _written = write(CLOSE);
        if let Some(before) = &self.before {
            let _restored = tcsetattr(io::stdin(), OptionalActions::Drain, before);
        }
    }
}

fn keys(stop: &impl Fn() -> bool) {
    let mut typed = [0; 64];
    while let Ok(length @ 1..) = io::stdin().read(&mut typed) {
        let ends = typed[..length].iter().any(|key| matches!(key, b'q' | b'Q' | &INTERRUPT));
        if ends && !stop() {
            return;
        }
    }
}

fn write(text: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(text.as_bytes())?;
    stdout.flush()
}

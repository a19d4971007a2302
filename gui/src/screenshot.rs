//! A picture of the real window, and beside it what it shows as text for those who check it.

use std::{
    fs::File,
    io::{self, BufWriter, Write as _},
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use egui::ColorImage;
use serde::Serialize;

use crate::{
    model::{Model, tree::Node},
    view::Shown,
};

/// A picture that was asked for.
pub struct Screenshot {
    path: PathBuf,
    due: Instant,
    state: State,
}

enum State {
    Waiting,
    Asked(crossbeam_channel::Receiver<Arc<ColorImage>>),
    Saved,
}

/// How a picture went.
#[derive(Debug, PartialEq, Eq)]
pub enum Progress {
    /// It is not time yet.
    Waiting(Duration),
    /// It was asked for.
    Asked,
    /// It lies on the disk.
    Saved,
}

/// What stood in the window.
#[derive(Debug, Serialize)]
struct Dump {
    at: String,
    size: [usize; 2],
    rows: Vec<DumpRow>,
}

/// One row as it stood in the window.
#[derive(Debug, Serialize)]
struct DumpRow {
    level: u8,
    kind: &'static str,
    label: String,
    detail: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    process_id: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pid: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    host: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    flow_id: Option<u64>,
    rx_rate: f64,
    tx_rate: f64,
    rx_bytes: f64,
    tx_bytes: f64,
    open: u32,
}

impl Screenshot {
    /// Asks for a picture after a while.
    pub fn new(path: PathBuf, after: Duration) -> Self {
        Self { path, due: Instant::now() + after, state: State::Waiting }
    }

    /// Takes the next step towards the picture. Called once a frame.
    ///
    /// # Errors
    /// If the files cannot be written.
    pub fn step(&mut self, ctx: &egui::Context, model: &Model, shown: &Shown) -> io::Result<Progress> {
        match &self.state {
            State::Waiting => {
                let left = self.due.saturating_duration_since(Instant::now());
                if !left.is_zero() {
                    return Ok(Progress::Waiting(left));
                }
                let (sender, receiver) = crossbeam_channel::bounded(1);
                let wake = ctx.clone();
                ctx.send_viewport_cmd(egui::ViewportCommand::Screenshot(egui::ScreenshotCallback::new(
                    move |image| {
                        // Nobody waits any more only if the window is closing.
                        drop(sender.try_send(image));
                        wake.request_repaint();
                    },
                )));
                self.state = State::Asked(receiver);
                Ok(Progress::Asked)
            }
            State::Asked(receiver) => {
                let Ok(image) = receiver.try_recv() else { return Ok(Progress::Asked) };
                save_png(&self.path, &image)?;
                let mut dump = self.path.clone().into_os_string();
                dump.push(".json");
                save_dump(Path::new(&dump), image.size, model, shown)?;
                self.state = State::Saved;
                Ok(Progress::Saved)
            }
            State::Saved => Ok(Progress::Saved),
        }
    }
}

fn save_png(path: &Path, image: &ColorImage) -> io::Result<()> {
    let side = |n: usize| u32::try_from(n).map_err(io::Error::other);
    let file = BufWriter::new(File::create(path)?);
    let mut encoder = png::Encoder::new(file, side(image.size[0])?, side(image.size[1])?);
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_depth(png::BitDepth::Eight);
    let mut writer = encoder.write_header()?;
    let bytes: Vec<u8> = image.pixels.iter().flat_map(|c| [c.r(), c.g(), c.b()]).collect();
    writer.write_image_data(&bytes)?;
    writer.finish()?;
    Ok(())
}

fn save_dump(path: &Path, size: [usize; 2], model: &Model, shown: &Shown) -> io::Result<()> {
    let rows = model.tree().rows.get(shown.rows.clone()).unwrap_or_default();
    let dump = Dump {
        at: model.ledger().now().to_string(),
        size,
        rows: rows
            .iter()
            .map(|row| {
                let words = model.words(&row.node);
                let (process_id, host, flow_id) = ids(&row.node);
                let proc = process_id.map(sekhmet_common::process::ProcessId);
                let pid = proc.and_then(|id| model.ledger().proc(Some(id))?.info.as_ref().map(|p| p.pid));
                DumpRow {
                    level: row.level,
                    kind: words.kind,
                    label: words.name,
                    detail: words.detail,
                    process_id,
                    pid,
                    host,
                    flow_id,
                    rx_rate: row.now.down,
                    tx_rate: row.now.up,
                    rx_bytes: row.total.down,
                    tx_bytes: row.total.up,
                    open: row.open,
                }
            })
            .collect(),
    };
    let mut file = BufWriter::new(File::create(path)?);
    serde_json::to_writer_pretty(&mut file, &dump)?;
    writeln!(file)
}

fn ids(node: &Node) -> (Option<u64>, Option<String>, Option<u64>) {
    match node {
        Node::Group(_) | Node::Exited => (None, None, None),
        Node::Process(_, m) => (m.map(|id| id.0), None, None),
        Node::Host(_, m, h) => (m.map(|id| id.0), Some(h.label()), None),
        Node::Flow(_, m, h, f) => (m.map(|id| id.0), Some(h.label()), Some(f.0)),
    }
}

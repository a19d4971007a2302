//! What the window shows, as text for those who check it: its rows, and what it says to screen readers.

use std::{
    fs::{self, File},
    io::{self, BufWriter, Write as _},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use egui::accesskit;
use sekhmet_common::file::{ContactReason, Outcome};
use serde::Serialize;

use crate::{
    model::{
        Model,
        secrets::{
            host_of,
            rows::{Expected, Key},
        },
        tree::{self, Node},
    },
    view::Shown,
};

/// What stood in the window.
#[derive(Debug, Serialize)]
pub struct Dump {
    at: String,
    size: [usize; 2],
    rows: Vec<Row>,
    secrets: Vec<Secret>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    said: Vec<Said>,
}

/// One row as it stood in the window.
#[derive(Debug, Serialize)]
struct Row {
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
    unexpected_files: usize,
    expected_files: usize,
}

/// A file of the Secrets lens, with what its row stands for.
#[derive(Debug, Serialize)]
struct Secret {
    path: String,
    expected: bool,
    process_id: Option<u64>,
    access_ids: Vec<u64>,
    entry: u32,
    label: String,
    results: Vec<Outcome>,
    times: u64,
    first_time: bool,
    after: Vec<After>,
}

/// A contact of such a row.
#[derive(Debug, Serialize)]
struct After {
    id: u64,
    access_id: u64,
    flow_id: u64,
    host: String,
    is_new: bool,
}

/// One thing as a screen reader has it.
#[derive(Clone, Debug, Serialize)]
pub struct Said {
    role: String,
    text: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    toggled: Option<String>,
    #[serde(skip_serializing_if = "is_false")]
    selected: bool,
    /// Left, top, right and bottom, in points.
    place: [f64; 4],
}

fn is_false(value: &bool) -> bool {
    !value
}

impl Dump {
    /// The rows in sight.
    pub fn of(model: &Model, shown: &Shown, size: [usize; 2]) -> Self {
        let rows = model.tree().rows.get(shown.rows.clone()).unwrap_or_default();
        Self {
            at: model.ledger().now().to_string(),
            size,
            rows: rows.iter().map(|row| Row::of(row, model)).collect(),
            secrets: model.secrets().rows.iter().filter_map(|row| secret(row, model)).collect(),
            said: Vec::new(),
        }
    }
}

impl Row {
    fn of(row: &tree::Row, model: &Model) -> Self {
        let words = model.words(&row.node);
        let (process_id, host, flow_id) = ids(&row.node);
        let proc = process_id.map(sekhmet_common::process::ProcessId);
        let pid = proc.and_then(|id| model.ledger().proc(Some(id))?.info.as_ref().map(|p| p.pid));
        Self {
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
            unexpected_files: row.secret.unexpected,
            expected_files: row.secret.expected,
        }
    }
}

fn ids(node: &Node) -> (Option<u64>, Option<String>, Option<u64>) {
    match node {
        Node::Group(_) | Node::Exited => (None, None, None),
        Node::Process(_, m) => (m.map(|id| id.0), None, None),
        Node::Host(_, m, h) => (m.map(|id| id.0), Some(h.label()), None),
        Node::Flow(_, m, h, f) => (m.map(|id| id.0), Some(h.label()), Some(f.0)),
    }
}

fn secret(row: &crate::model::secrets::rows::Row, model: &Model) -> Option<Secret> {
    let Key::File(Expected(expected), _, process, path, entry) = &row.key else { return None };
    let secrets = model.ledger().secrets();
    let contacts = row.accesses.iter().flat_map(|id| secrets.contacts_after(*id));
    Some(Secret {
        path: path.shown(),
        expected: *expected,
        process_id: process.map(|id| id.0),
        access_ids: row.accesses.iter().map(|id| id.0).collect(),
        entry: entry.0,
        label: model.entry_label(*entry),
        results: row.results.iter().copied().collect(),
        times: row.times,
        first_time: row.first_time,
        after: contacts
            .map(|contact| After {
                id: contact.id.0,
                access_id: contact.access.0,
                flow_id: contact.flow.0,
                host: host_of(contact).label(),
                is_new: contact.reason == ContactReason::NewRemote,
            })
            .collect(),
    })
}

/// Writes it in place of what the file held.
///
/// # Errors
/// If the folder cannot be written.
pub fn save(path: &Path, dump: &Dump) -> io::Result<()> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".new");
    let beside = PathBuf::from(beside);
    let mut file = BufWriter::new(File::create(&beside)?);
    serde_json::to_writer_pretty(&mut file, dump)?;
    writeln!(file)?;
    file.flush()?;
    drop(file);
    // Whoever reads it finds one or the other, never a half.
    fs::rename(beside, path)
}

/// Keeps a file with what each frame showed and said.
pub struct Dumper {
    path: PathBuf,
    said: Arc<Mutex<Vec<Said>>>,
}

impl Dumper {
    /// Has the window say everything, as if somebody listened.
    pub fn new(ctx: &egui::Context, path: PathBuf) -> Self {
        let said = Arc::default();
        ctx.add_plugin(Listener { said: Arc::clone(&said) });
        Self { path, said }
    }

    /// Writes what is shown, and what the frame before said.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn write(&self, model: &Model, shown: &Shown, size: [usize; 2]) -> io::Result<()> {
        let mut dump = Dump::of(model, shown, size);
        dump.said.clone_from(&self.said.lock().unwrap_or_else(PoisonError::into_inner));
        save(&self.path, &dump)
    }
}

/// Takes down what a frame says.
struct Listener {
    said: Arc<Mutex<Vec<Said>>>,
}

impl egui::Plugin for Listener {
    fn debug_name(&self) -> &'static str {
        "listener"
    }

    fn setup(&mut self, ctx: &egui::Context) {
        ctx.enable_accesskit();
    }

    fn output_hook(&mut self, _ctx: &egui::Context, output: &mut egui::FullOutput) {
        let Some(update) = &output.platform_output.accesskit_update else { return };
        let said = update.nodes.iter().filter_map(|(_, node)| said(node)).collect();
        *self.said.lock().unwrap_or_else(PoisonError::into_inner) = said;
    }
}

fn said(node: &accesskit::Node) -> Option<Said> {
    let text = node.label().or_else(|| node.value())?.to_owned();
    let place = node.bounds()?;
    Some(Said {
        role: format!("{:?}", node.role()),
        text,
        toggled: node.toggled().map(|toggled| format!("{toggled:?}")),
        selected: node.is_selected() == Some(true),
        place: [place.x0, place.y0, place.x1, place.y1],
    })
}

//! A picture of the real window, and beside it what it shows as text for those who check it.

use std::{
    fs::File,
    io::{self, BufWriter},
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use egui::ColorImage;

use crate::{
    dump::{self, Dump},
    model::Model,
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
                dump::save(Path::new(&dump), &Dump::of(model, shown, image.size))?;
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

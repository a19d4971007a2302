//! The application: takes in what the link tells, draws the model, carries out what was asked for.

use std::time::{Duration, Instant};

use sekhmet_common::event::Event;

use crate::{
    command::{self, Command, Commands},
    dump::Dumper,
    link::{Link, Update},
    model::{Model, screen::Lens, status::Status},
    notify::{Chosen, Desktop, Silent},
    preferences::Preferences,
    preview::Previewer,
    screenshot::{Progress, Screenshot},
    settings::Settings,
    theme::measure,
    view::{self, Shown},
};

/// The window's state.
pub struct App {
    model: Model,
    link: Box<dyn Link>,
    shown: Shown,
    desktop: Box<dyn Desktop>,
    preferences: Preferences,
    previewer: Option<Previewer>,
    screenshot: Option<Screenshot>,
    dumper: Option<Dumper>,
    unfold: u8,
    select: Option<String>,
}

impl App {
    /// Sets up fonts, colours and the first choices.
    pub fn new(ctx: &egui::Context, link: Box<dyn Link>, settings: &Settings) -> Self {
        crate::theme::install(ctx);
        ctx.set_theme(settings.theme.map_or(egui::ThemePreference::System, Into::into));
        let mut model = Model::default();
        if let Some(text) = &settings.search {
            model.screen.search_for(text);
        }
        if let Some(lens) = settings.lens {
            model.screen.lens = lens.into();
        }
        model.screen.local = settings.local;
        model.home = std::env::var("HOME").ok().filter(|home| home.starts_with('/') && home.len() > 1);
        model.saves_to = crate::evidence::folder();
        model.uid = rustix::process::getuid().as_raw();
        Self {
            model,
            link,
            shown: Shown::default(),
            desktop: Box::new(Silent),
            preferences: Preferences::default(),
            previewer: None,
            screenshot: settings
                .screenshot
                .as_ref()
                .map(|path| Screenshot::new(path.clone(), settings.after())),
            dumper: settings.dump.as_ref().map(|path| Dumper::new(ctx, path.clone())),
            unfold: settings.unfold(),
            select: settings.select.clone(),
        }
    }

    /// Tells the desktop of unexpected readers, unless the person does not want that.
    #[must_use]
    pub fn with_desktop(mut self, desktop: Box<dyn Desktop>, preferences: Preferences) -> Self {
        self.model.alerts.set_on(preferences.alerts());
        (self.desktop, self.preferences) = (desktop, preferences);
        self
    }

    /// The model, for tests.
    pub fn model(&self) -> &Model {
        &self.model
    }

    /// The model, for tests that set a scene.
    pub fn model_mut(&mut self) -> &mut Model {
        &mut self.model
    }

    /// Takes in what came and moves the present; for a window that is seen, also builds the rows. A hidden
    /// window asks for no frame: it is woken by what comes.
    pub fn wake(&mut self, ctx: &egui::Context) {
        if ctx.input(|i| i.viewport().visible()) == Some(false) {
            self.receive();
        } else {
            self.update();
        }
        self.heed_desktop(ctx);
    }

    /// Goes where a click on a notification leads, and brings the window before the person.
    fn heed_desktop(&mut self, ctx: &egui::Context) {
        let mut commands = Commands::default();
        for Chosen(about) in self.desktop.chosen() {
            commands.push(Command::SetLens(Lens::Secrets));
            if let Some(id) = about {
                commands.push(Command::ShowAccess(id));
            }
        }
        if !commands.is_empty() {
            command::run(commands, &mut self.model, self.link.as_mut(), ctx);
            ctx.send_viewport_cmd(egui::ViewportCommand::Minimized(false));
            ctx.send_viewport_cmd(egui::ViewportCommand::Focus);
        }
    }

    fn receive(&mut self) {
        for update in self.link.poll() {
            self.take_in(update);
        }
        self.model.set_now(self.link.now());
    }

    /// Takes in what came, moves the present and builds the rows.
    pub fn update(&mut self) {
        self.receive();
        self.model.refresh();
        if self.unfold > 0 {
            self.unfold_levels();
        }
        if let Some(name) = &self.select
            && let Some(node) = self.model.find(name)
        {
            self.model.screen.selected = Some(node);
            self.select = None;
        }
    }

    fn take_in(&mut self, update: Update) {
        let retry_at = |after: Option<Duration>| after.map(|d| Instant::now() + d);
        match update {
            Update::Connected if self.link.is_replay() => {
                self.model.status = Status::Replay { ended: false };
            }
            Update::Connected => self.model.status = Status::Live,
            Update::Events(events) => {
                if !self.model.status.is_current() {
                    self.model.status = Status::Live;
                }
                self.model.apply(&events);
                self.alert(&events);
            }
            Update::Answer { ticket, answer } => self.model.requests.answer(ticket, answer),
            Update::Lost { reason, retry_in } => {
                self.model.requests.abandon();
                let retry_at = retry_at(retry_in);
                self.model.status = match self.model.live().last_event() {
                    None => Status::NoHelper { error: reason, retry_at },
                    Some(last) => {
                        // The picture stands at the last moment that is known.
                        let since = last.max(self.model.live().now());
                        let since = match &self.model.status {
                            Status::Lost { since, .. } => *since,
                            _ => since,
                        };
                        Status::Lost { since, reason, retry_at }
                    }
                };
            }
            Update::Refused { error } => self.model.status = Status::Refused { error },
            Update::AllRefused => self.model.screen.all_refused = true,
            Update::Ended => self.model.status = Status::Replay { ended: true },
        }
        self.model.invalidate();
    }

    /// Tells the desktop of those who opened what they are not expected to, a recording's excepted.
    fn alert(&mut self, events: &[Event]) {
        if self.link.is_replay() {
            return;
        }
        let now = self.link.now();
        for event in events {
            if let Event::FileAccessed { access, .. } = event
                && let Some(notification) = self.model.alert(access.id, now)
            {
                self.desktop.notify(notification);
            }
        }
    }

    /// Asks for what the pattern in the editor would match, and takes in the answer.
    fn preview(&mut self, ctx: &egui::Context) {
        let pattern = &self.model.screen.form.pattern;
        if self.previewer.is_none() && !pattern.is_empty() {
            let (home, wake) = (self.model.home.clone(), ctx.clone());
            match Previewer::spawn(home, move || wake.request_repaint()) {
                Ok(previewer) => self.previewer = Some(previewer),
                Err(error) => return tracing::error!(%error, "no thread for the preview"),
            }
        }
        let Some(previewer) = &mut self.previewer else { return };
        if let Some(preview) = previewer.ask(pattern).or_else(|| previewer.poll()) {
            self.model.preview = preview;
        }
        if previewer.is_behind(pattern) {
            ctx.request_repaint_after(Duration::from_millis(100));
        }
    }

    /// Unfolds what is there, down to the level that was asked for.
    fn unfold_levels(&mut self) {
        for _ in 0..self.unfold {
            let rows = self.model.tree().rows.iter();
            let folded: Vec<_> = rows
                .filter(|row| row.level < self.unfold && row.unfolded == Some(false))
                .map(|row| row.node.clone())
                .collect();
            if folded.is_empty() {
                return;
            }
            folded.iter().for_each(|node| self.model.screen.set_unfolded(node, true));
            self.model.invalidate();
            self.model.refresh();
        }
    }

    /// Draws one frame.
    pub fn frame(&mut self, ui: &mut egui::Ui) {
        let ctx = ui.ctx().clone();
        let mut commands = Commands::default();
        self.hold(&ctx);
        self.preview(&ctx);
        self.model.refresh();
        view::show(ui, &self.model, &mut self.shown, &mut commands);
        self.model.screen.reveal = false;
        command::run(commands, &mut self.model, self.link.as_mut(), &ctx);
        self.preferences.keep(self.model.alerts.is_on());
        self.take_picture(&ctx);
        self.write_down(&ctx);
        ctx.request_repaint_after(self.next_repaint());
    }

    /// Rows keep their order while the pointer is over them or a menu is open.
    fn hold(&mut self, ctx: &egui::Context) {
        let window = ctx.content_rect();
        let screen = &self.model.screen;
        let grid = view::Grid::of(window, screen.inspector_width, screen.inspector_open);
        let over = |at: egui::Pos2| {
            grid.body.contains(at) && !(grid.over && grid.inspector.is_some_and(|r| r.contains(at)))
        };
        let pointing = ctx.input(|i| i.pointer.hover_pos()).is_some_and(over);
        self.model.hold(pointing || self.model.screen.menu.is_some() || egui::Popup::is_any_open(ctx));
    }

    /// Numbers change once a second; nothing else moves by itself.
    fn next_repaint(&self) -> Duration {
        let into_second = self.link.now().0.rem_euclid(1_000_000_000);
        // A little after the second, when its last counters have come in.
        let left = 1_050_000_000 - into_second;
        Duration::from_nanos(u64::try_from(left).unwrap_or(1_000_000_000))
    }

    fn write_down(&mut self, ctx: &egui::Context) {
        let Some(dumper) = &self.dumper else { return };
        let size = ctx.content_rect().size();
        if let Err(error) = dumper.write(&self.model, &self.shown, [size.x as usize, size.y as usize]) {
            tracing::error!(%error, "what the window shows could not be written down");
            self.dumper = None;
        }
    }

    fn take_picture(&mut self, ctx: &egui::Context) {
        let Some(screenshot) = &mut self.screenshot else { return };
        match screenshot.step(ctx, &self.model, &self.shown) {
            Ok(Progress::Waiting(left)) => ctx.request_repaint_after(left),
            Ok(Progress::Asked) => ctx.request_repaint(),
            Ok(Progress::Saved) => {
                self.screenshot = None;
                ctx.send_viewport_cmd(egui::ViewportCommand::Close);
            }
            Err(error) => {
                tracing::error!(%error, "the picture could not be saved");
                self.screenshot = None;
                ctx.send_viewport_cmd(egui::ViewportCommand::Close);
            }
        }
    }
}

impl eframe::App for App {
    fn logic(&mut self, ctx: &egui::Context, _frame: &mut eframe::Frame) {
        self.wake(ctx);
    }

    fn ui(&mut self, ui: &mut egui::Ui, _frame: &mut eframe::Frame) {
        self.frame(ui);
    }

    fn raw_input_hook(&mut self, _ctx: &egui::Context, input: &mut egui::RawInput) {
        if self.screenshot.is_some() {
            // A picture shows the window, not where somebody's pointer happened to be.
            input.events.retain(|event| !matches!(event, egui::Event::PointerMoved(_)));
        }
    }

    fn clear_color(&self, visuals: &egui::Visuals) -> [f32; 4] {
        visuals.panel_fill.to_normalized_gamma_f32()
    }
}

/// How the window is to be opened.
pub fn native_options(settings: &Settings) -> eframe::NativeOptions {
    let size = settings.size.unwrap_or(measure::WINDOW);
    eframe::NativeOptions {
        viewport: egui::ViewportBuilder::default()
            .with_app_id(sekhmet_common::bus::APP_ID)
            // The desktop entry names the icon; without this egui would show its own.
            .with_icon(egui::IconData::default())
            .with_title(crate::text::TITLE)
            .with_inner_size(size)
            .with_min_inner_size(measure::MIN_WINDOW),
        renderer: eframe::Renderer::Glow,
        ..Default::default()
    }
}

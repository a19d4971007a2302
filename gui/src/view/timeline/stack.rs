//! The layers of the chart: the five largest programs and the rest, or a selection and the rest.

use egui::Color32;

use crate::{
    model::{
        Model,
        key::GroupKey,
        ledger::{Group, Ledger},
        screen::Lens,
        series::Both,
        tally::Figures,
        tree::Node,
    },
    theme::Palette,
};

/// Seconds in the chart.
pub(super) const SECONDS: usize = 300;
const LARGEST: usize = 5;

/// One layer, bytes for each second from the oldest.
pub(super) struct Layer {
    pub(super) name: String,
    pub(super) selected: bool,
    pub(super) now: Both,
    pub(super) seconds: Vec<Both>,
}

/// The layers in the order of the legend.
pub(super) struct Stack {
    pub(super) layers: Vec<Layer>,
    has_selection: bool,
    has_rest: bool,
}

impl Stack {
    pub(super) fn of(model: &Model) -> Self {
        let ledger = model.ledger();
        let (second, local) = (ledger.second(), model.screen.local);
        let talkers = by_total(ledger, model.screen.lens, local);
        let groups = talkers.len();
        let mut layers: Vec<Layer> = talkers
            .into_iter()
            .take(LARGEST)
            .map(|(key, group)| Layer {
                name: model.words(&Node::Group(key.clone())).name,
                selected: false,
                now: group.tally.rate(second, local),
                seconds: group.tally.seconds(second, SECONDS, local),
            })
            .collect();
        let has_selection = select(model, &mut layers);
        if has_selection && model.screen.chart_alone {
            layers.retain(|layer| layer.selected);
            return Self { layers, has_selection, has_rest: false };
        }
        let all = ledger.total().seconds(second, SECONDS, local);
        let now = ledger.total().rate(second, local);
        let rest = rest_of(&layers, all, now);
        let has_rest = groups > layers.len();
        if has_rest {
            let more = groups - layers.len();
            layers.push(Layer { name: crate::text::more(more), ..rest });
        }
        Self { layers, has_selection, has_rest }
    }

    /// The colours of a layer.
    pub(super) fn colors(&self, index: usize, p: &Palette) -> (Color32, Color32) {
        let is_rest = self.has_rest && index + 1 == self.layers.len();
        match self.layers.get(index) {
            Some(layer) if layer.selected => (p.mark_down, p.mark_up),
            _ if self.has_selection => (p.muted_down, p.muted_up),
            _ if is_rest => (p.rest, p.rest),
            _ => {
                let rank = index.min(LARGEST - 1);
                (p.down_rank[rank], p.up_rank[rank])
            }
        }
    }

    /// The layers from the axis outwards: a selection stands at the axis.
    pub(super) fn axis_outwards(&self) -> impl Iterator<Item = (usize, &Layer)> {
        let all = || self.layers.iter().enumerate();
        all().filter(|(_, l)| l.selected).chain(all().filter(|(_, l)| !l.selected))
    }

    /// Everything together, for each second.
    pub(super) fn totals(&self) -> Vec<Both> {
        let mut sums = vec![Both::default(); SECONDS];
        for layer in &self.layers {
            for (sum, value) in sums.iter_mut().zip(&layer.seconds) {
                *sum += *value;
            }
        }
        sums
    }
}

/// The groups that moved something in the window, the most first.
fn by_total(ledger: &Ledger, lens: Lens, local: bool) -> Vec<(&GroupKey, &Group)> {
    let groups = if lens == Lens::Users { ledger.users() } else { ledger.programs() };
    let second = ledger.second();
    let mut all: Vec<(f64, &GroupKey, &Group)> = groups
        .iter()
        .map(|(key, group)| (group.tally.total(second, local).sum(), key, group))
        .filter(|(total, ..)| *total > 0.0)
        .collect();
    all.sort_by(|a, b| b.0.total_cmp(&a.0).then_with(|| a.1.cmp(b.1)));
    all.into_iter().map(|(_, key, group)| (key, group)).collect()
}

/// Puts the selection among the layers, in the place of the program it belongs to. Returns whether there is one.
fn select(model: &Model, layers: &mut Vec<Layer>) -> bool {
    let Some(node) = &model.screen.selected else { return false };
    let ledger = model.ledger();
    let (second, local) = (ledger.second(), model.screen.local);
    let tally = match model.figures(node) {
        Figures::None => return false,
        figures => figures,
    };
    let layer = Layer {
        name: model.words(node).name,
        selected: true,
        now: tally.rate(second, local),
        seconds: tally.seconds(second, SECONDS, local),
    };
    let mut top = node.clone();
    while let Some(parent) = top.parent() {
        top = parent;
    }
    let program = model.words(&top).name;
    match layers.iter().position(|l| l.name == program) {
        Some(place) => layers[place] = layer,
        None => {
            layers.truncate(LARGEST - 1);
            layers.push(layer);
        }
    }
    true
}

fn rest_of(layers: &[Layer], mut seconds: Vec<Both>, mut now: Both) -> Layer {
    for layer in layers {
        now = now - layer.now;
        for (rest, value) in seconds.iter_mut().zip(&layer.seconds) {
            *rest = *rest - *value;
        }
    }
    Layer { name: String::new(), selected: false, now, seconds }
}

//! What the person in front of the window has chosen: lens, search, selection, order, what is unfolded.

use std::collections::HashSet;

use super::{block::Menu, search::Query, secrets::rows::Key, tree::Node, watch::Form};

/// A view on the same table, or a page that replaces it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Lens {
    /// Every program.
    #[default]
    Everything,
    /// Neither services nor containers.
    Applications,
    /// Services of the system's and the user's managers.
    Services,
    /// Containers.
    Containers,
    /// One row for each user.
    Users,
    /// Who opened watched files.
    Secrets,
    /// The page on what is blocked.
    Rules,
    /// The page on what is watched.
    Watchlist,
    /// The page on what can be seen here.
    Coverage,
}

impl Lens {
    /// The lenses in their order from above, which is that of the keys 1 to 9.
    pub const ALL: [Self; 9] = [
        Self::Everything,
        Self::Applications,
        Self::Services,
        Self::Containers,
        Self::Users,
        Self::Secrets,
        Self::Rules,
        Self::Watchlist,
        Self::Coverage,
    ];

    /// Whether it replaces the table.
    pub fn is_page(self) -> bool {
        matches!(self, Self::Secrets | Self::Rules | Self::Watchlist | Self::Coverage)
    }
}

/// What the inspector lists below its fields.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Tab {
    /// Remote hosts.
    #[default]
    Hosts,
    /// Processes of a program.
    Processes,
    /// What was refused.
    Refused,
    /// Watched files that were opened.
    Files,
}

/// A column that rows can be sorted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Column {
    /// The name.
    Program,
    /// Present download.
    NowDown,
    /// Present upload.
    NowUp,
    /// Download in the window.
    TotalDown,
    /// Upload in the window.
    TotalUp,
    /// Open connections.
    Open,
    /// Last activity.
    Seen,
}

/// A chosen order. Without one, rows stand by the total of both directions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sort {
    /// By which column.
    pub column: Column,
    /// Whether the usual direction of that column is turned round.
    pub reversed: bool,
}

/// The choices. Changed by commands only.
#[derive(Clone, Debug)]
pub struct Screen {
    /// The lens.
    pub lens: Lens,
    /// What was typed into the search box.
    pub search: String,
    /// The same, understood.
    pub query: Query,
    /// What stands over the table because of a rule cell.
    pub menu: Option<Menu>,
    /// The selected row.
    pub selected: Option<Node>,
    /// The selected row of the Secrets lens.
    pub secret: Option<Key>,
    /// What stands in the editor of the watchlist.
    pub form: Form,
    /// Rows of the Secrets lens that were folded or unfolded by hand.
    pub secrets_turned: HashSet<Key>,
    /// Unfolded rows.
    pub unfolded: HashSet<Node>,
    /// Rows that were folded although the search unfolds them.
    pub folded_in_search: HashSet<Node>,
    /// Whether LAN and loopback are shown.
    pub local: bool,
    /// A chosen order.
    pub sort: Option<Sort>,
    /// Width of the inspector in points.
    pub inspector_width: f32,
    /// What the inspector lists.
    pub tab: Tab,
    /// Whether the chart is shown as a table.
    pub chart_as_table: bool,
    /// Whether the chart shows the selection alone, to its own scale.
    pub chart_alone: bool,
    /// Whether the inspector is open over the table in a small window.
    pub inspector_open: bool,
    /// Whether "all programs" was asked for and refused.
    pub all_refused: bool,
    /// Whether the row of the selection should be brought into view.
    pub reveal: bool,
}

impl Default for Screen {
    fn default() -> Self {
        Self {
            lens: Lens::default(),
            search: String::new(),
            query: Query::default(),
            menu: None,
            selected: None,
            secret: None,
            form: Form::default(),
            secrets_turned: HashSet::new(),
            unfolded: HashSet::new(),
            folded_in_search: HashSet::new(),
            local: false,
            sort: None,
            inspector_width: crate::theme::measure::INSPECTOR,
            tab: Tab::default(),
            chart_as_table: false,
            chart_alone: false,
            inspector_open: false,
            all_refused: false,
            reveal: false,
        }
    }
}

impl Screen {
    /// Sets the search.
    pub fn search_for(&mut self, text: &str) {
        text.clone_into(&mut self.search);
        self.query = Query::parse(text);
        self.folded_in_search.clear();
    }

    /// Unfolds or folds a row.
    pub fn set_unfolded(&mut self, node: &Node, unfolded: bool) {
        if unfolded {
            self.folded_in_search.remove(node);
            self.unfolded.insert(node.clone());
        } else {
            self.unfolded.remove(node);
            if !self.query.is_empty() {
                self.folded_in_search.insert(node.clone());
            }
        }
    }

    /// A click on a column's head: that order, then its reverse, then the default again.
    pub fn sort_by(&mut self, column: Column) {
        self.sort = match self.sort {
            Some(sort) if sort.column == column && sort.reversed => None,
            Some(sort) if sort.column == column => Some(Sort { reversed: true, ..sort }),
            _ => Some(Sort { column, reversed: false }),
        };
    }
}

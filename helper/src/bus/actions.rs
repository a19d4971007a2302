//! The one table of what a method needs: the polkit action that guards it, its defaults, its message.
//!
//! The policy file is generated from it, the check takes the action from it, the tests iterate over it.

use sekhmet_common::bus::{
    ACTION_BLOCK_ADD, ACTION_BLOCK_REMOVE, ACTION_CONFIGURE, ACTION_WATCH_ALL, ACTION_WATCH_OWN, HELPER_USER,
    MONITOR, RULES, SCOPE_ALL, SCOPE_OWN, WATCHLIST,
};

/// What polkit answers when no rule of the administrator says otherwise (polkit(8), `<defaults>`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Implicit {
    /// Refused.
    No,
    /// Allowed.
    Yes,
    /// An administrator must authenticate.
    AuthAdmin,
    /// An administrator must authenticate; the answer holds for a few minutes.
    AuthAdminKeep,
}

impl Implicit {
    /// The word in a policy file.
    pub fn word(self) -> &'static str {
        match self {
            Self::No => "no",
            Self::Yes => "yes",
            Self::AuthAdmin => "auth_admin",
            Self::AuthAdminKeep => "auth_admin_keep",
        }
    }
}

/// A polkit action.
#[derive(Debug)]
pub struct Action {
    /// Its id.
    pub id: &'static str,
    /// What it is about, for the list of actions.
    pub description: &'static str,
    /// What the authentication dialog says. polkit puts a detail of the check where `$(its key)` stands.
    pub message: &'static str,
    /// For callers without a session: services, SSH.
    pub any: Implicit,
    /// For sessions in the background.
    pub inactive: Implicit,
    /// For the session at the screen.
    pub active: Implicit,
    /// Actions that this one includes.
    pub implies: &'static [&'static str],
}

/// Live events of the caller's own programs. `yes`, because the kernel would show the same to the caller.
pub static WATCH_OWN: Action = Action {
    id: ACTION_WATCH_OWN,
    description: "Show the activity of your own programs",
    message: "Authentication is required to see what your own programs are doing",
    any: Implicit::Yes,
    inactive: Implicit::No,
    active: Implicit::Yes,
    implies: &[],
};

/// Live events of every user and the system.
pub static WATCH_ALL: Action = Action {
    id: ACTION_WATCH_ALL,
    description: "Show the activity of all programs on this computer",
    message: "Authentication is required to see what every user's programs on this computer are doing, \
              including files they open and the servers they contact",
    any: Implicit::AuthAdmin,
    inactive: Implicit::No,
    active: Implicit::AuthAdminKeep,
    implies: &[ACTION_WATCH_OWN],
};

/// Key of the detail that says whom a rule blocks, or what is done to the watchlist.
pub const DETAIL_TARGET: &str = "target";

/// Key of the detail that says for how long.
pub const DETAIL_DURATION: &str = "duration";

/// A new block. It raises protection, so an answer that holds for a few minutes may serve for the next one.
pub static BLOCK_ADD: Action = Action {
    id: ACTION_BLOCK_ADD,
    description: "Block the network activity of a program",
    message: "Authentication is required to block $(target) $(duration)",
    any: Implicit::AuthAdmin,
    inactive: Implicit::No,
    active: Implicit::AuthAdminKeep,
    implies: &[],
};

/// The end of one block, or of all. Each is asked about anew: polkit's kept answer would also serve for
/// another block than the one that the person read about (polkit(8), `auth_admin_keep`).
pub static BLOCK_REMOVE: Action = Action {
    id: ACTION_BLOCK_REMOVE,
    description: "Remove a block of a program's network activity",
    message: "Authentication is required to remove the block of $(target)",
    any: Implicit::AuthAdmin,
    inactive: Implicit::No,
    active: Implicit::AuthAdmin,
    implies: &[],
};

/// What is recorded, for every user. It may be less than before, so each change is asked about anew.
pub static CONFIGURE: Action = Action {
    id: ACTION_CONFIGURE,
    description: "Change what Sekhmet records on this computer",
    message: "Authentication is required to change what Sekhmet records on this computer: $(target)",
    any: Implicit::AuthAdmin,
    inactive: Implicit::No,
    active: Implicit::AuthAdmin,
    implies: &[],
};

/// Every action, in the order of the policy file.
pub static ACTIONS: [&Action; 5] = [&WATCH_OWN, &WATCH_ALL, &BLOCK_ADD, &BLOCK_REMOVE, &CONFIGURE];

/// Whose entry of the watchlist a change is about: the caller's own.
pub const ENTRY_OF_CALLER: &str = "user";

/// Whose entry of the watchlist a change is about: everybody's, or another user's.
pub const ENTRY_OF_OTHERS: &str = "system";

/// A guarded operation: a method, or one of the things that a method can be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// `OpenEventStream` for the caller's own processes.
    WatchOwn,
    /// `OpenEventStream` for every process.
    WatchAll,
    /// `Rules.Add`.
    BlockAdd,
    /// `Rules.Remove`.
    BlockRemove,
    /// `Rules.Release`.
    BlockRelease,
    /// `Watchlist.Add` in the caller's own home.
    EntryAddOwn,
    /// `Watchlist.Add` for everybody.
    EntryAdd,
    /// `Watchlist.Remove` of an entry of the caller's own.
    EntryRemoveOwn,
    /// `Watchlist.Remove` of any other entry.
    EntryRemove,
    /// `Watchlist.Set` of an entry of the caller's own.
    EntrySetOwn,
    /// `Watchlist.Set` of any other entry.
    EntrySet,
}

/// One row of the table.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// The interface.
    pub interface: &'static str,
    /// The method.
    pub method: &'static str,
    /// What leads here if a method leads to several operations: the value of the option `scope`, or whose entry of the
    /// watchlist it is about. Else empty.
    pub scope: &'static str,
    /// What polkit is asked.
    pub action: &'static Action,
}

impl Operation {
    /// Every guarded operation.
    pub const ALL: [Self; 11] = [
        Self::WatchOwn,
        Self::WatchAll,
        Self::BlockAdd,
        Self::BlockRemove,
        Self::BlockRelease,
        Self::EntryAddOwn,
        Self::EntryAdd,
        Self::EntryRemoveOwn,
        Self::EntryRemove,
        Self::EntrySetOwn,
        Self::EntrySet,
    ];

    /// Its row. An operation without one does not compile.
    pub fn row(self) -> Row {
        let (interface, method, scope, action) = match self {
            Self::WatchOwn => (MONITOR, "OpenEventStream", SCOPE_OWN, &WATCH_OWN),
            Self::WatchAll => (MONITOR, "OpenEventStream", SCOPE_ALL, &WATCH_ALL),
            Self::BlockAdd => (RULES, "Add", "", &BLOCK_ADD),
            Self::BlockRemove => (RULES, "Remove", "", &BLOCK_REMOVE),
            Self::BlockRelease => (RULES, "Release", "", &BLOCK_REMOVE),
            Self::EntryAddOwn => (WATCHLIST, "Add", ENTRY_OF_CALLER, &WATCH_OWN),
            Self::EntryAdd => (WATCHLIST, "Add", ENTRY_OF_OTHERS, &CONFIGURE),
            Self::EntryRemoveOwn => (WATCHLIST, "Remove", ENTRY_OF_CALLER, &WATCH_OWN),
            Self::EntryRemove => (WATCHLIST, "Remove", ENTRY_OF_OTHERS, &CONFIGURE),
            Self::EntrySetOwn => (WATCHLIST, "Set", ENTRY_OF_CALLER, &WATCH_OWN),
            Self::EntrySet => (WATCHLIST, "Set", ENTRY_OF_OTHERS, &CONFIGURE),
        };
        Row { interface, method, scope, action }
    }
}

/// The methods that show what their caller may watch: everything to who may watch all without being asked for
/// a password, the caller's own to who may watch that.
pub const FILTERED_METHODS: [(&str, &str); 2] = [(RULES, "List"), (WATCHLIST, "Get")];

/// What anybody may read: sources and counters, no names and no peers.
pub const OPEN_PROPERTIES: [(&str, &str); 4] =
    [(MONITOR, "ApiMinor"), (MONITOR, "Coverage"), (MONITOR, "Mode"), (MONITOR, "Version")];

/// A right that polkit can grant, as a type, so that a worker can demand it as an argument.
pub trait Right: Send + Sync + 'static {
    /// The operation that the right is for.
    const OPERATION: Operation;
}

macro_rules! rights {
    ($($name:ident),+) => {
        $(
            #[doc = concat!("The right to [`Operation::", stringify!($name), "`].")]
            #[derive(Debug)]
            pub struct $name;

            impl Right for $name {
                const OPERATION: Operation = Operation::$name;
            }
        )+
    };
}

rights!(
    WatchOwn,
    WatchAll,
    BlockAdd,
    BlockRemove,
    BlockRelease,
    EntryAddOwn,
    EntryAdd,
    EntryRemoveOwn,
    EntryRemove,
    EntrySetOwn,
    EntrySet
);

/// The text of `polkit/org.sekhmet.helper.policy`.
///
/// Every action names its owner: without that annotation polkit refuses a service that does not run as root
/// any check about other users (polkit 0.105 and later, `org.freedesktop.policykit.owner`).
pub fn policy() -> String {
    let mut out = String::from(concat!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n",
        "<!DOCTYPE policyconfig PUBLIC \"-//freedesktop//DTD PolicyKit Policy Configuration 1.0//EN\"\n",
        "  \"http://www.freedesktop.org/standards/PolicyKit/1/policyconfig.dtd\">\n",
        "<!-- Generated from helper/src/bus/actions.rs; a test compares the two. -->\n",
        "<policyconfig>\n",
        "  <vendor>Sekhmet</vendor>\n",
        "  <icon_name>org.sekhmet.Sekhmet</icon_name>\n",
    ));
    for action in ACTIONS {
        out.push_str(&format!(
            "\n  <action id=\"{}\">\n    <description>{}</description>\n    <message>{}</message>\n    \
             <defaults>\n      <allow_any>{}</allow_any>\n      <allow_inactive>{}</allow_inactive>\n      \
             <allow_active>{}</allow_active>\n    </defaults>\n    \
             <annotate key=\"org.freedesktop.policykit.owner\">unix-user:{HELPER_USER}</annotate>\n",
            action.id,
            xml(action.description),
            xml(action.message),
            action.any.word(),
            action.inactive.word(),
            action.active.word(),
        ));
        if !action.implies.is_empty() {
            out.push_str(&format!(
                "    <annotate key=\"org.freedesktop.policykit.imply\">{}</annotate>\n",
                action.implies.join(" ")
            ));
        }
        out.push_str("  </action>\n");
    }
    out.push_str("</policyconfig>\n");
    out
}

fn xml(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../polkit/org.sekhmet.helper.policy");

    /// Set `SEKHMET_WRITE_POLICY` to write the file anew after a change of the table.
    #[test]
    fn the_policy_file_is_the_one_that_the_table_gives() {
        if std::env::var_os("SEKHMET_WRITE_POLICY").is_some() {
            std::fs::write(POLICY, policy()).unwrap();
        }
        assert_eq!(std::fs::read_to_string(POLICY).unwrap(), policy());
    }

    #[test]
    fn every_action_guards_something_and_every_row_is_reachable() {
        for action in ACTIONS {
            assert!(Operation::ALL.iter().any(|o| std::ptr::eq(o.row().action, action)), "{}", action.id);
            for implied in action.implies {
                assert!(ACTIONS.iter().any(|a| a.id == *implied), "{implied}");
            }
        }
        for (i, one) in Operation::ALL.iter().enumerate() {
            for other in &Operation::ALL[i + 1..] {
                let (a, b) = (one.row(), other.row());
                assert_ne!((a.interface, a.method, a.scope), (b.interface, b.method, b.scope));
            }
        }
    }

    /// What shows others' activity asks an administrator wherever it is not refused outright.
    #[test]
    fn nobody_sees_others_without_an_administrator() {
        for level in [WATCH_ALL.any, WATCH_ALL.inactive, WATCH_ALL.active] {
            assert_ne!(level, Implicit::Yes);
        }
    }

    /// What reduces protection is asked about each time, for a kept answer serves for other details, too.
    #[test]
    fn blocks_need_an_administrator_and_their_end_a_fresh_one() {
        for action in [&BLOCK_ADD, &BLOCK_REMOVE, &CONFIGURE] {
            for level in [action.any, action.inactive, action.active] {
                assert_ne!(level, Implicit::Yes, "{}", action.id);
            }
        }
        for action in [&BLOCK_REMOVE, &CONFIGURE] {
            for level in [action.any, action.inactive, action.active] {
                assert_ne!(level, Implicit::AuthAdminKeep, "{}", action.id);
            }
            assert!(action.message.contains(&format!("$({DETAIL_TARGET})")));
        }
        assert!(BLOCK_ADD.message.contains(&format!("$({DETAIL_TARGET}) $({DETAIL_DURATION})")));
    }
}

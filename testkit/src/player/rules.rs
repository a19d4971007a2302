//! The player's rules: it notes each command and answers as it is told.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex},
};

use sekhmet_common::{bus::error, event::Event, rule::Rule, time::Timestamp, wire};
use zbus::{OwnedVariant, interface, message::Header};

use super::{Named, Player, Stage, lock};

impl Player {
    /// The next command that adds a rule adds this one.
    pub fn will_add(&self, rule: Rule) {
        lock(&self.stage).to_add.push(rule);
    }

    /// From now on every command is refused with this error, or none is.
    pub fn refuse_commands(&self, name: Option<&'static str>) {
        lock(&self.stage).no_commands = name;
    }

    /// A refusal because somebody would have to be asked is none any more for those who allow to ask.
    pub fn say_yes(&self) {
        lock(&self.stage).is_asked = true;
    }

    /// The commands so far: the method's name, its arguments by name, `interactive` if polkit may ask.
    pub fn commands(&self) -> Vec<String> {
        lock(&self.stage).commands.clone()
    }
}

pub(super) struct Rules(pub(super) Arc<Mutex<Stage>>);

/// Notes a command, and refuses it if it is to be refused.
pub(super) fn note(stage: &Mutex<Stage>, what: String, header: &Header<'_>) -> Result<(), Named> {
    let interactive = header.primary().flags().contains(zbus::message::Flags::ALLOW_INTERACTIVE_AUTH);
    let mut stage = lock(stage);
    stage.commands.push(if interactive { format!("{what} interactive") } else { what });
    match stage.no_commands {
        Some(error::INTERACTION_REQUIRED) if interactive && stage.is_asked => Ok(()),
        refusal => refusal.map_or(Ok(()), |name| Err(Named(name))),
    }
}

/// Options in the order of their names.
pub(super) fn words(options: &HashMap<String, OwnedVariant>) -> String {
    let sorted: BTreeMap<_, _> = options.iter().collect();
    sorted.into_iter().map(|(key, value)| format!(" {key}={}", word(value))).collect()
}

#[interface(name = "org.sekhmet.Helper1.Rules", introspection_docs = false)]
impl Rules {
    async fn add(
        &self,
        options: HashMap<String, OwnedVariant>,
        #[zbus(header)] header: Header<'_>,
    ) -> Result<u64, Named> {
        note(&self.0, format!("Add{}", words(&options)), &header)?;
        let mut stage = lock(&self.0);
        if stage.to_add.is_empty() {
            return Err(Named(error::FAILED));
        }
        let rule = stage.to_add.remove(0);
        let id = rule.id.0.into();
        let end = stage.events.len().saturating_sub(1);
        stage.events.insert(end, Event::RuleAdded { at: Timestamp(1), rule });
        stage.told = wire::encode(&stage.events).map_err(|_too_long| Named(error::FAILED))?;
        Ok(id)
    }

    async fn remove(&self, id: u64, #[zbus(header)] header: Header<'_>) -> Result<(), Named> {
        note(&self.0, format!("Remove {id}"), &header)
    }

    async fn release(&self, #[zbus(header)] header: Header<'_>) -> Result<u64, Named> {
        note(&self.0, "Release".to_owned(), &header)?;
        Ok(3)
    }
}

/// A value without its type; bytes as text.
fn word(value: &OwnedVariant) -> String {
    if let Ok(bytes) = Vec::<u8>::try_from(value.clone()) {
        return String::from_utf8_lossy(&bytes).into_owned();
    }
    if let Ok(list) = Vec::<Vec<u8>>::try_from(value.clone()) {
        return format!("{:?}", list.iter().map(|bytes| String::from_utf8_lossy(bytes)).collect::<Vec<_>>());
    }
    if let Ok(is_so) = bool::try_from(value.clone()) {
        return is_so.to_string();
    }
    let number = u64::try_from(value.clone()).map(|number| number.to_string());
    number.or_else(|_other| String::try_from(value.clone())).unwrap_or_else(|_other| format!("{value:?}"))
}

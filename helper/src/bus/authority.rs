//! Asks polkit whether a caller may do something, and hands out the proof.
//!
//! Only [`Authority::check`] makes a [`Granted`], and the functions that do the work demand one. The caller
//! is always named by its unique name on the bus, which cannot be handed over or used again; a PID could.

use std::{
    collections::HashMap,
    marker::PhantomData,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use tokio::time::{sleep, timeout};
use zbus::{
    Connection, MatchRule, Message, MessageStream,
    fdo::{self, DBusProxy},
    message::{Flags, Type},
    names::{BusName, OwnedUniqueName, UniqueName},
    proxy::CacheProperties,
};
use zbus_polkit::policykit1::{AuthorityProxy, CheckAuthorizationFlags, Subject};

use crate::bus::{actions::Right, reply::next};

/// How long polkit, and a person in front of a dialog, may take.
const CHECK_MAX: Duration = Duration::from_secs(120);

/// How long the bus itself may take to answer.
const BUS_MAX: Duration = Duration::from_secs(5);

/// Why there is no grant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// polkit said no, or could not be asked, or the dialog was dismissed.
    #[error("not authorised")]
    NotAuthorized,
    /// polkit would have to ask the user, which the call did not allow.
    #[error("authentication is needed, and the call does not allow it")]
    InteractionRequired,
    /// The caller left the bus or is not who it was.
    #[error("the caller is gone")]
    CallerGone,
}

/// Who calls: the unique name from the message's header and the user that the bus vouches for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// The unique name on the bus.
    pub name: OwnedUniqueName,
    /// The user.
    pub uid: u32,
}

/// How polkit is asked.
#[derive(Clone, Copy, Debug)]
pub struct Asking<'a> {
    /// Whether it may raise a dialog.
    pub interactive: bool,
    /// What the action's message names: keys and values, the values safe to show.
    pub details: &'a [(&'static str, &'a str)],
}

impl Asking<'static> {
    /// As the caller allows it, about nothing in particular.
    pub fn plainly(call: &Message) -> Self {
        Self { interactive: allows_interaction(call), details: &[] }
    }

    /// Without a dialog, whatever the caller allows.
    pub const SILENTLY: Self = Self { interactive: false, details: &[] };
}

/// Proof that polkit allowed `R` to the caller in it.
#[derive(Debug)]
pub struct Granted<R: Right> {
    caller: Caller,
    right: PhantomData<R>,
}

impl<R: Right> Granted<R> {
    /// To whom it was granted.
    pub fn caller(&self) -> &Caller {
        &self.caller
    }
}

/// Watches that a caller is on the bus.
#[derive(Debug)]
pub struct Presence {
    changes: MessageStream,
}

impl Presence {
    /// Begins to watch. What happens to the name after this returns is not missed.
    ///
    /// # Errors
    /// If the bus cannot be asked.
    pub async fn watch(connection: &Connection, name: &UniqueName<'_>) -> zbus::Result<Self> {
        let rule = MatchRule::builder()
            .msg_type(Type::Signal)
            .sender("org.freedesktop.DBus")
            .interface("org.freedesktop.DBus")
            .member("NameOwnerChanged")
            .arg(0, name.as_str())
            .build()?;
        Ok(Self { changes: MessageStream::for_match_rule(rule, connection, None).await? })
    }

    /// Returns when the name has left the bus, or the bus has left us.
    pub async fn ends(&mut self) {
        while let Some(Ok(message)) = next(&mut self.changes).await {
            let body = message.body();
            match body.deserialize::<(&str, &str, &str)>() {
                Ok((_name, _old, new)) if !new.is_empty() => {}
                _ => return,
            }
        }
    }
}

/// The user whom the bus names as owner of a connection.
///
/// # Errors
/// [`Refusal::CallerGone`] if the bus does not know, does not answer, or names a user that cannot exist.
pub async fn user_of(connection: &Connection, name: &UniqueName<'_>) -> Result<u32, Refusal> {
    let ask = async {
        let bus = DBusProxy::builder(connection).cache_properties(CacheProperties::No).build().await?;
        bus.get_connection_credentials(BusName::from(name.as_ref())).await
    };
    let credentials = timeout(BUS_MAX, ask).await.ok().and_then(Result::ok);
    match credentials.and_then(|c| c.unix_user_id()) {
        // 65535 and −1 are "no user" to the kernel's 16-bit and 32-bit calls.
        None | Some(0xffff | u32::MAX) => Err(Refusal::CallerGone),
        Some(uid) => Ok(uid),
    }
}

/// The way to polkit.
#[derive(Clone, Debug)]
pub struct Authority {
    connection: Connection,
}

/// What polkit said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    Yes,
    No,
    Challenge,
    /// Nobody owns polkit's name, and nobody can be started to own it.
    Absent,
}

impl Authority {
    /// Asks over this connection.
    pub fn new(connection: Connection) -> Self {
        Self { connection }
    }

    /// Asks whether the sender of `call` may do `R`.
    ///
    /// Anything but a plain yes is a no: an error, a challenge, two minutes without an answer, a caller that
    /// leaves meanwhile or that the bus says belongs to somebody else now. Without polkit root alone may.
    ///
    /// # Errors
    /// [`Refusal`] says which.
    pub async fn check<R: Right>(
        &self,
        call: &Message,
        caller: &Caller,
        asking: Asking<'_>,
    ) -> Result<(Granted<R>, Presence), Refusal> {
        let mut presence = timeout(BUS_MAX, Presence::watch(&self.connection, &caller.name))
            .await
            .ok()
            .and_then(Result::ok)
            .ok_or(Refusal::CallerGone)?;
        self.confirm(caller).await?;
        let answer = tokio::select! {
            answer = self.ask::<R>(call, asking) => answer,
            () = presence.ends() => return Err(Refusal::CallerGone),
        };
        self.confirm(caller).await?;
        let action = R::OPERATION.row().action.id;
        tracing::info!(action, sender = %caller.name, uid = caller.uid, ?answer, "authorisation");
        match answer {
            Answer::Yes => {}
            Answer::Absent if caller.uid == 0 => {}
            Answer::Challenge if !asking.interactive => return Err(Refusal::InteractionRequired),
            Answer::Absent | Answer::No | Answer::Challenge => return Err(Refusal::NotAuthorized),
        }
        Ok((Granted { caller: caller.clone(), right: PhantomData }, presence))
    }

    /// Whether a right that was granted to the sender of `call` still stands, without asking anybody. That
    /// an authentication has run out does not end a stream; that the administrator now says no does.
    pub async fn still_allows<R: Right>(&self, call: &Message, caller: &Caller) -> bool {
        match self.ask::<R>(call, Asking::SILENTLY).await {
            Answer::Yes | Answer::Challenge => true,
            Answer::No => false,
            Answer::Absent => caller.uid == 0,
        }
    }

    async fn confirm(&self, caller: &Caller) -> Result<(), Refusal> {
        let uid = user_of(&self.connection, &caller.name).await?;
        if uid == caller.uid { Ok(()) } else { Err(Refusal::CallerGone) }
    }

    async fn ask<R: Right>(&self, call: &Message, asking: Asking<'_>) -> Answer {
        let Ok(subject) = Subject::new_for_message_header(&call.header()) else { return Answer::No };
        let Ok(polkit) =
            AuthorityProxy::builder(&self.connection).cache_properties(CacheProperties::No).build().await
        else {
            return Answer::No;
        };
        let flags = if asking.interactive {
            CheckAuthorizationFlags::ALLOW_USER_INTERACTION
        } else {
            CheckAuthorizationFlags::empty()
        };
        let action = R::OPERATION.row().action.id;
        let mut pending = Cancellation::new(polkit.clone());
        let details: HashMap<&str, &str> = asking.details.iter().copied().collect();
        let check = polkit.check_authorization(&subject, action, &details, flags, &pending.id);
        let answer = tokio::select! {
            answer = check => answer,
            () = sleep(CHECK_MAX) => {
                tracing::warn!(action, "polkit does not answer");
                return Answer::No;
            }
        };
        pending.answered = true;
        match answer {
            Ok(result) if result.is_authorized => Answer::Yes,
            Ok(result) if result.is_challenge => Answer::Challenge,
            Ok(_) => Answer::No,
            Err(error) if is_absent(&error) => Answer::Absent,
            Err(error) => {
                tracing::warn!(action, error = %sekhmet_common::display::escape(error.to_string().as_bytes()),
                    "polkit cannot be asked");
                Answer::No
            }
        }
    }
}

/// Whether the caller says that a person may be asked (D-Bus specification, `ALLOW_INTERACTIVE_AUTHORIZATION`).
pub fn allows_interaction(call: &Message) -> bool {
    call.primary_header().flags().contains(Flags::ALLOW_INTERACTIVE_AUTH)
}

fn is_absent(error: &zbus::Error) -> bool {
    let zbus::Error::FDO(error) = error else { return false };
    matches!(
        **error,
        fdo::Error::ServiceUnknown(_) | fdo::Error::NameHasNoOwner(_) | fdo::Error::SpawnServiceNotFound(_)
    )
}

/// Takes a dialog off the screen when nobody waits for its answer any more.
struct Cancellation {
    polkit: AuthorityProxy<'static>,
    id: String,
    answered: bool,
}

impl Cancellation {
    fn new(polkit: AuthorityProxy<'static>) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let id = format!("sekhmet-{}", NEXT.fetch_add(1, Ordering::Relaxed));
        Self { polkit, id, answered: false }
    }
}

impl Drop for Cancellation {
    fn drop(&mut self) {
        if self.answered {
            return;
        }
        let (polkit, id) = (self.polkit.clone(), std::mem::take(&mut self.id));
        tokio::spawn(async move {
            if let Err(error) = polkit.cancel_check_authorization(&id).await {
                tracing::debug!(%error, "polkit did not cancel");
            }
        });
    }
}

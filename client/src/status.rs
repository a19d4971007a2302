//! How the helper is: what anybody may ask, without authorisation and without a stream.

use std::time::Duration;

use sekhmet_common::bus::{COVERAGE_KINDS, COVERAGE_SOURCES, COVERAGE_UPTIME_MS};
use tokio::time::timeout;
use zbus::{Connection, OwnedVariant, conn::Builder, proxy::CacheProperties};

use crate::{monitor::MonitorProxy, update::Reason};

/// How long the helper may take to answer, its start by the bus included.
const ANSWER_MAX: Duration = Duration::from_secs(10);

/// One thing that can be seen, and from where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceLine {
    /// What it is for.
    pub capability: String,
    /// What is in use. Empty when nothing.
    pub source: String,
    /// `best`, `equal`, `reduced` or `missing`.
    pub status: String,
    /// What it costs that nothing better is in use.
    pub cost: String,
    /// What the kernel answered when something better was tried.
    pub reason: String,
}

/// The balance of one kind of record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KindLine {
    /// Which kind.
    pub kind: String,
    /// Made and accounted for.
    pub made: u64,
    /// Arrived.
    pub delivered: u64,
    /// Found no room.
    pub lost: u64,
    /// Nobody's business.
    pub filtered: u64,
    /// Made, not yet accounted for.
    pub in_flight: u64,
}

/// The helper's state in numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// The helper's version.
    pub version: String,
    /// `full` or `reduced`.
    pub mode: String,
    /// Milliseconds since it began to watch.
    pub uptime_ms: u64,
    /// What can be seen.
    pub sources: Vec<SourceLine>,
    /// What became of the records.
    pub kinds: Vec<KindLine>,
}

impl Status {
    /// Why something that holds now could not be written down, so that it would not outlive a restart; nothing if all
    /// is kept, or if nothing ever is. Capability and cost are those of [`sekhmet_common::coverage`].
    pub fn owed(&self, capability: &str, cost: &str) -> Option<&str> {
        let is_it = |line: &&SourceLine| line.capability == capability && line.cost == cost;
        self.sources.iter().find(is_it).map(|line| line.reason.as_str())
    }
}

/// Asks the helper how it is. `address` names another bus than the system's.
///
/// # Errors
/// [`Reason`] if there is no bus, no helper, or no sensible answer within ten seconds.
pub async fn status(address: Option<&str>) -> Result<Status, Reason> {
    let connection = connect(address).await?;
    let ask = async {
        let helper = MonitorProxy::builder(&connection).cache_properties(CacheProperties::No).build().await?;
        zbus::Result::Ok((helper.version().await?, helper.mode().await?, helper.coverage().await?))
    };
    let late = |_elapsed| Reason::Other("the helper does not answer".into());
    let (version, mode, mut coverage) = timeout(ANSWER_MAX, ask).await.map_err(late)??;
    let sources = take::<Vec<(String, String, String, String, String)>>(coverage.remove(COVERAGE_SOURCES))?;
    let kinds = take::<Vec<(String, u64, u64, u64, u64, u64)>>(coverage.remove(COVERAGE_KINDS))?;
    Ok(Status {
        version,
        mode,
        uptime_ms: take(coverage.remove(COVERAGE_UPTIME_MS))?,
        sources: sources
            .into_iter()
            .map(|(capability, source, status, cost, reason)| SourceLine {
                capability,
                source,
                status,
                cost,
                reason,
            })
            .collect(),
        kinds: kinds
            .into_iter()
            .map(|(kind, made, delivered, lost, filtered, in_flight)| KindLine {
                kind,
                made,
                delivered,
                lost,
                filtered,
                in_flight,
            })
            .collect(),
    })
}

/// Connects to the system's bus, or to the one named.
pub(crate) async fn connect(address: Option<&str>) -> Result<Connection, Reason> {
    let builder = match address {
        Some(address) => Builder::address(address),
        None => Builder::system(),
    };
    builder.build().await.map_err(|error| Reason::NoBus(error.to_string()))
}

fn take<T>(value: Option<OwnedVariant>) -> Result<T, Reason>
where
    T: TryFrom<OwnedVariant>,
{
    let value = value.and_then(|v| T::try_from(v).ok());
    value.ok_or_else(|| Reason::Other("the helper answers in a form that this program does not know".into()))
}

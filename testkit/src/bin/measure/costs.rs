//! What a program pays for a connection and for a datagram, in nanoseconds, one round at a time.
//!
//! The threads are bound to processors: where the scheduler puts them decides more than any helper does. Work of
//! one thread is measured in its processor time, so that other programs' turns do not count; what two threads do
//! in turn, in real time. Each figure is the lower quartile of many parts of a round, because whatever else runs
//! on the machine only ever adds.

use std::{
    io::Read,
    net::{Ipv4Addr, TcpListener, TcpStream, UdpSocket},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use rustix::{
    thread::{CpuSet, sched_getaffinity, sched_setaffinity},
    time::{ClockId, clock_gettime},
};
use serde_json::{Value, json};

/// Parts of a round.
const PARTS: u32 = 40;

/// Connections go to one loopback address after the other, so that the ports of closed ones do not run out.
const ADDRESSES: u32 = 32;

/// A lost datagram must not stop the measurement for ever.
const PATIENCE: Duration = Duration::from_secs(5);

/// One round of everything.
pub(crate) fn round(count: u32) -> Result<Value> {
    let allowed = sched_getaffinity(None)?;
    let processors: Vec<usize> = (0..CpuSet::MAX_CPU).filter(|n| allowed.is_set(*n)).collect();
    let (Some(first), Some(second)) = (processors.first(), processors.get(1).or(processors.first())) else {
        anyhow::bail!("no processor to run on");
    };
    bind(*first)?;
    let told = json!({
        "connect_close_ns": connect_close(count)?,
        "udp_ns": datagrams(4 * count)?,
        "udp_ping_pong_ns": ping_pong(count, *second)?,
        "udp_ping_pong_near_ns": ping_pong(2 * count, *first)?,
    });
    sched_setaffinity(None, &allowed)?;
    Ok(told)
}

/// Nanoseconds of processor time for one connection on loopback, made and closed, both ends together.
pub(crate) fn connections(count: u32) -> Result<f64> {
    connect_close(count)
}

/// Does something on one processor.
pub(crate) fn on_one_processor<T>(work: impl FnOnce() -> Result<T>) -> Result<T> {
    let allowed = sched_getaffinity(None)?;
    bind((0..CpuSet::MAX_CPU).find(|n| allowed.is_set(*n)).context("no processor to run on")?)?;
    let done = work();
    sched_setaffinity(None, &allowed)?;
    done
}

/// Nanoseconds of processor time for one `work`.
pub(crate) fn processor_time(count: u32, work: impl FnMut() -> Result<()>) -> Result<f64> {
    time(ClockId::ThreadCPUTime, count, work)
}

fn bind(processor: usize) -> Result<()> {
    let mut one = CpuSet::new();
    one.set(processor);
    sched_setaffinity(None, &one).context("cannot bind a thread to a processor")
}

/// Both ends of a connection by one thread: nothing waits, and what is measured is all the work there is.
fn connect_close(count: u32) -> Result<f64> {
    let listeners = (0..ADDRESSES)
        .map(|n| TcpListener::bind((Ipv4Addr::new(127, 0, 1, u8::try_from(n + 1)?), 0)).context("listen"))
        .collect::<Result<Vec<_>>>()?;
    let mut next = 0;
    time(ClockId::ThreadCPUTime, count, || {
        next = (next + 1) % listeners.len();
        let client = TcpStream::connect(listeners[next].local_addr()?)?;
        let (mut server, _) = listeners[next].accept()?;
        drop(client);
        ensure!(server.read(&mut [0; 1])? == 0, "something was sent");
        Ok(())
    })
}

/// A question and its answer by one thread: two datagrams, nothing waits.
fn datagrams(count: u32) -> Result<f64> {
    let (asks, answers) = pair()?;
    let mut buffer = [0; 64];
    time(ClockId::ThreadCPUTime, count, || {
        asks.send(&buffer)?;
        answers.recv(&mut buffer)?;
        answers.send(&buffer)?;
        asks.recv(&mut buffer)?;
        Ok(())
    })
}

/// A question and its answer between two threads, the second on this processor.
fn ping_pong(count: u32, processor: usize) -> Result<f64> {
    let (asks, answers) = pair()?;
    let echo = std::thread::Builder::new().name("echo".into()).spawn(move || {
        bind(processor)?;
        let mut buffer = [0; 64];
        while answers.recv(&mut buffer)? > 0 {
            answers.send(&buffer)?;
        }
        anyhow::Ok(())
    })?;
    let mut buffer = [0; 64];
    let took = time(ClockId::Monotonic, count, || {
        asks.send(&buffer)?;
        asks.recv(&mut buffer)?;
        Ok(())
    });
    // An empty datagram ends the other thread.
    asks.send(&[])?;
    echo.join().map_err(|_panic| anyhow::anyhow!("the other thread broke"))??;
    took
}

fn pair() -> Result<(UdpSocket, UdpSocket)> {
    let (a, b) = (UdpSocket::bind("127.0.0.1:0")?, UdpSocket::bind("127.0.0.1:0")?);
    a.connect(b.local_addr()?)?;
    b.connect(a.local_addr()?)?;
    a.set_read_timeout(Some(PATIENCE))?;
    b.set_read_timeout(Some(PATIENCE))?;
    Ok((a, b))
}

/// Nanoseconds of one `work` on this clock.
fn time(clock: ClockId, count: u32, mut work: impl FnMut() -> Result<()>) -> Result<f64> {
    let now = || {
        let time = clock_gettime(clock);
        time.tv_sec as f64 * 1e9 + time.tv_nsec as f64
    };
    let mut parts = Vec::new();
    for _ in 0..PARTS {
        let start = now();
        for _ in 0..count / PARTS {
            work()?;
        }
        parts.push((now() - start) / f64::from(count / PARTS));
    }
    parts.sort_by(f64::total_cmp);
    Ok(parts[parts.len() / 4])
}

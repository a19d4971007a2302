//! What the coverage panel says about the firewall.

use sekhmet_common::{
    coverage::{Source, SourceStatus},
    display::{Text, escape},
};

use super::{Error, Hold, Shape};

/// The lines for what came of installing: whether anything can be blocked, and which way.
pub fn sources(installed: Result<Shape, &Error>) -> Vec<Source> {
    match installed {
        Ok(shape) => vec![outbound(shape), inbound(shape), log(shape)],
        Err(error) => {
            let cost = "nothing can be blocked in the first network namespace";
            vec![line("blocking", "", SourceStatus::Missing, cost, &escape(error.to_string().as_bytes()))]
        }
    }
}

fn outbound(shape: Shape) -> Source {
    match shape.hold {
        Hold::Owned => line("blocking", "nftables, owned table", SourceStatus::Best, "", ""),
        Hold::Shared => line(
            "blocking",
            "nftables, watched table",
            SourceStatus::Reduced,
            "a program that removes the table lets traffic through until it is put back",
            "no table owners before Linux 5.12 and nftables 0.9.9",
        ),
    }
}

fn inbound(shape: Shape) -> Source {
    if shape.inbound {
        return line("blocking inbound", "nftables, socket mark", SourceStatus::Best, "", "");
    }
    let cost = "what others send still reaches blocked programs";
    line("blocking inbound", "", SourceStatus::Missing, cost, "the kernel has no nft_socket")
}

fn log(shape: Shape) -> Source {
    if shape.logs {
        return line("refused packets", "nfnetlink_log", SourceStatus::Best, "", "");
    }
    let cost = "refusals are counted for each rule, without remote sides";
    line("refused packets", "counters", SourceStatus::Reduced, cost, "the kernel has no nfnetlink_log")
}

fn line(capability: &str, source: &str, status: SourceStatus, cost: &str, reason: &str) -> Source {
    let [capability, source, cost, reason] = [capability, source, cost, reason].map(Text::from);
    Source { capability, source, status, cost, reason }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_thing_that_is_missing_costs_something() {
        for shape in Shape::ALL {
            for source in sources(Ok(shape)) {
                let is_best = source.status == SourceStatus::Best;
                assert_eq!(is_best, source.cost.is_empty() && source.reason.is_empty(), "{source:?}");
            }
        }
        assert!(sources(Ok(Shape::ALL[0])).iter().all(|source| source.status == SourceStatus::Best));
        let missing = Error::Library("libnftables.so.1: not\n found".to_owned());
        let [line] = &sources(Err(&missing))[..] else { panic!("one line says it") };
        assert_eq!(line.status, SourceStatus::Missing);
        assert!(line.reason.shown().contains("libnftables.so.1") && !line.reason.shown().contains('\n'));
    }
}

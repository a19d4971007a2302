//! Reads what a kernel suite prints: lines of the Test Anything Protocol among other output.

/// What the lines came to.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Report {
    /// `ok` lines.
    pub passed: u64,
    /// `ok … # SKIP reason` lines.
    pub skipped: u64,
    /// The text of every `not ok` line.
    pub failed: Vec<String>,
    /// The number of tests that a plan line (`1..N`) announced.
    pub planned: Option<u64>,
    /// The exit status that the virtual machine's init told on its last line.
    pub ended_with: Option<i32>,
}

/// How the init of the virtual machine tells the suite's exit status.
pub(crate) const END_MARK: &str = "# suite ended with status ";

impl Report {
    /// Reads one line; lines that are none of the protocol's are passed over.
    pub(crate) fn read_line(&mut self, line: &str) {
        let line = line.trim_end_matches(['\r', '\n']);
        if let Some(rest) = line.strip_prefix("not ok ") {
            // A test that is known not to work yet is marked TODO in the protocol; here nothing may be.
            self.failed.push(rest.to_owned());
        } else if let Some(rest) = line.strip_prefix("ok ") {
            let is_skip = rest.split_once('#').is_some_and(|(_, note)| {
                note.trim_start().get(..4).is_some_and(|word| word.eq_ignore_ascii_case("skip"))
            });
            if is_skip { self.skipped += 1 } else { self.passed += 1 }
        } else if let Some(count) = line.strip_prefix("1..") {
            self.planned =
                count.split_whitespace().next().and_then(|count| count.parse().ok()).or(self.planned);
        } else if let Some(status) = line.strip_prefix(END_MARK) {
            self.ended_with = status.trim().parse().ok();
        }
    }

    /// Reads a whole text.
    pub(crate) fn read(text: &str) -> Self {
        let mut report = Self::default();
        text.lines().for_each(|line| report.read_line(line));
        report
    }

    /// Why this run does not count as a success, given the suite's exit status; `None` when it does.
    pub(crate) fn fault(&self, status: Option<i32>) -> Option<String> {
        let seen = self.passed + self.skipped + self.failed.len() as u64;
        if !self.failed.is_empty() {
            return Some(format!(
                "{} of {seen} checks failed: {}",
                self.failed.len(),
                self.failed.join("; ")
            ));
        }
        match (status, self.planned) {
            (None, _) => Some(format!("the suite did not come to its end ({seen} checks seen)")),
            (Some(code), _) if code != 0 => Some(format!("the suite ended with status {code}")),
            (_, Some(planned)) if planned != seen => Some(format!("{planned} checks announced, {seen} seen")),
            _ if self.passed == 0 => Some("no check ran".to_owned()),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_the_three_kinds() {
        let report =
            Report::read("1..3\nok 1 - exec\r\nok 2 - kprobe # SKIP no kprobes\nnoise\nnot ok 3 - exit\n");
        assert_eq!((report.passed, report.skipped, report.planned), (1, 1, Some(3)));
        assert_eq!(report.failed, ["3 - exit"]);
        assert!(report.fault(Some(0)).is_some_and(|fault| fault.contains("3 - exit")));
    }

    #[test]
    fn a_missing_end_is_a_fault() {
        let cut = Report::read("1..2\nok 1 - exec\n");
        assert_eq!(cut.ended_with, None);
        assert!(cut.fault(cut.ended_with).is_some());
        let short = Report::read("1..2\nok 1 - exec\n# suite ended with status 0\n");
        assert_eq!(short.fault(short.ended_with).unwrap(), "2 checks announced, 1 seen");
    }

    #[test]
    fn a_bad_status_or_no_check_is_a_fault() {
        let report = Report::read("ok 1 - exec\n1..1\n# suite ended with status 101\n");
        assert_eq!(report.fault(report.ended_with).unwrap(), "the suite ended with status 101");
        let empty = Report::read("# suite ended with status 0\n");
        assert_eq!(empty.fault(empty.ended_with).unwrap(), "no check ran");
        let good = Report::read("1..1\nok 1 - exec\n# suite ended with status 0\n");
        assert_eq!(good.fault(good.ended_with), None);
    }
}

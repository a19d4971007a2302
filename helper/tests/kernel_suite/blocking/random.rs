//! Rounds of random rules through the real engine and enforcer, in a network namespace of their own: after each round
//! the kernel's maps, the firewall's table, the disk and the list say what a model says.

mod dice;
mod installed;
mod model;

use std::{
    collections::VecDeque,
    fs,
    os::unix::{
        ffi::OsStrExt,
        fs::{DirBuilderExt, MetadataExt},
    },
    path::{Path, PathBuf},
    process::{Command, ExitCode, Stdio},
    time::Instant,
};

use crossbeam_channel::bounded;
use sekhmet_common::{
    display::Text,
    process::ProcessId,
    rule::{Draft, RULES_MAX, RuleId, Wanted},
    time::Timestamp,
};
use sekhmet_helper::{
    engine::{
        Engine, Limits, Start,
        input::{
            Deed, Effect, Input, Observation, ProcessImage, ProcessKey, ProgramKey, Request, Scope, Ticket,
            Uids, Wish,
        },
    },
    firewall::{Firewall, NftFirewall},
    kernel::{self, Kernel, Options, policy::Policies},
    run::enforcer::Enforcer,
    store::Store,
};

use self::{
    dice::Dice,
    installed::Installed,
    model::{Family, Model, Named},
};
use super::victim::{self, Victim};
use crate::{child, tap::Tap};

/// The word that makes a child of this; behind it the rounds, and the rules that are in force in each.
pub(crate) const WORD: &str = "random";

/// Programs of which processes run, and families of each.
const PROGRAMS: usize = 2;
const FAMILIES: usize = 3;

/// Files that nobody executes.
const FILES: usize = 400;

/// Stands in every name that a rule is made of, and must never stand in the firewall.
const FOREIGN: &str = "zz-foreign";

/// What a name may try to be.
const NASTY: [&[u8]; 8] = [
    b"plain",
    b"a\"; flush ruleset; #",
    b"}\n}\nflush ruleset\ntable inet x {",
    b"\x1b[2J\xff\xfe",
    b"[[rule]]\nid = 7\n",
    b"'''\"\"\"",
    b"\\\x7f\t\r",
    b"$(reboot) `reboot` %s",
];

/// Starts the child and repeats what it says.
pub(super) fn run(stage: &mut super::Stage<'_>) {
    if std::env::var_os("SEKHMET_VM").is_some() {
        return stage.tap.skip("random rules", "an emulated machine takes minutes for them");
    }
    super::walled::retell(stage, child::command(&[WORD, "5", "200"]), "random rules, ");
}

/// The child: prints lines of its own protocol.
pub(crate) fn rounds(rounds: u32, rules: usize) -> ExitCode {
    if let Err(errno) = victim::unshare() {
        println!("ok 1 - random rules # SKIP no network namespace: {errno}");
        return ExitCode::SUCCESS;
    }
    let mut tap = Tap::new();
    let began = Instant::now();
    let before = installed::map_ids();
    let mut kernel = match kernel::load(&Options::default()) {
        Ok(kernel) => kernel,
        Err(error) => {
            tap.skip("the programs", &error.to_string());
            return tap.finish();
        }
    };
    let Ok(firewall) = NftFirewall::open() else {
        tap.skip("the table", "no firewall here");
        return tap.finish();
    };
    let mut play = Play::new(&mut kernel, firewall, Installed::find(&before), rules.min(RULES_MAX));
    tap.note(&format!("seed {}", play.dice.seed));
    for round in 1..=rounds {
        play.round(&mut tap, round);
    }
    tap.note(&format!(
        "{} rules came, {} were refused, {:.1} s",
        play.came,
        play.refused,
        began.elapsed().as_secs_f64()
    ));
    tap.finish()
}

/// Engine, enforcer, model, and whom rules can be about.
struct Play {
    engine: Engine,
    enforcer: Enforcer,
    installed: Installed,
    model: Model,
    dice: Dice,
    rules: usize,
    folder: tempfile::TempDir,
    now: Timestamp,
    tickets: u64,
    came: u64,
    refused: u64,
    table: Option<String>,
    _victims: Vec<Victim>,
}

impl Play {
    fn new(kernel: &mut Kernel, firewall: NftFirewall, installed: Installed, rules: usize) -> Self {
        // There a file's device is what stat(2) shows.
        let shm = Path::new("/dev/shm");
        let place = if shm.is_dir() { shm.to_path_buf() } else { std::env::temp_dir() };
        let folder = tempfile::Builder::new().prefix(FOREIGN).tempdir_in(place).unwrap();
        fs::DirBuilder::new().mode(0o700).create(folder.path().join("state")).unwrap();
        let store = Store::open(&folder.path().join("state"), "boot".into()).unwrap();
        let policies = kernel.take_policies().unwrap();
        let dice = Dice::new();
        let now = Timestamp::now();
        let start = Start {
            version: "test".into(),
            at: now,
            booted_at: Timestamp(0),
            limits: Limits::default(),
            host_mnt_ns: 1,
        };
        let mut engine = Engine::new(start);
        engine.step(Input::CanEnforce(true), now);
        let (mut victims, mut families) = (Vec::new(), Vec::new());
        for program in 0..PROGRAMS {
            let path = folder.path().join(format!("program-{program}"));
            fs::copy("/proc/self/exe", &path).unwrap();
            for _ in 0..FAMILIES {
                let mut command = Command::new(&path);
                command.args([child::WORD, victim::WORD]).stderr(Stdio::null());
                let mut elder = Victim::start_with(command);
                let kid = elder.ask("kid").unwrap() as u32;
                families.push(family(&mut engine, &policies, now, &path, [elder.pid(), kid]));
                victims.push(elder);
            }
        }
        let files = (0..FILES).map(|n| named(&mut Dice::of(n as u64 + 1), folder.path(), n));
        let model = Model::new(files.collect(), families);
        let firewall: Box<dyn Firewall> = Box::new(firewall);
        let (seen, _nobody) = bounded(16);
        Self {
            engine,
            enforcer: Enforcer::new(Box::new(policies), Some(firewall), Some(store), seen),
            installed,
            model,
            dice,
            rules,
            folder,
            now,
            tickets: 0,
            came: 0,
            refused: 0,
            table: None,
            _victims: victims,
        }
    }

    /// Some rules go one by one, those whose time is over go, new ones come until there are as many as wanted.
    fn round(&mut self, tap: &mut Tap, round: u32) {
        for _ in 0..self.rules / 10 {
            let Some(id) = self.model.any(&mut self.dice) else { break };
            let gone = self.wish(&Request::Remove(RuleId(id)));
            assert_eq!(gone, Ok(vec![RuleId(id)]));
            self.model.remove(id);
        }
        self.let_expire();
        self.compare(tap, round, "fewer rules");
        for _attempt in 0..4 * self.rules {
            if self.model.len() >= self.rules {
                break;
            }
            let (draft, wanted) = self.model.draft(&mut self.dice);
            let answer = self.wish(&Request::Add(draft.clone()));
            match (wanted, answer) {
                (Some(rule), Ok(ids)) if ids.len() == 1 => {
                    self.came += 1;
                    self.model.add(ids[0].0, rule, self.now);
                }
                (None, Err(_)) => self.refused += 1,
                (wanted, answer) => {
                    let name = format!("round {round}: a rule is taken or refused as it should be");
                    tap.check(&name, false, &format!("{draft:?}: wanted {wanted:?}, got {answer:?}"));
                    return;
                }
            }
        }
        self.compare(tap, round, "all rules");
        if self.model.len() == RULES_MAX {
            let more =
                Draft::new(Wanted::Path(Text::from("/one/more")), sekhmet_common::rule::Lifetime::Always);
            let answer = self.wish(&Request::Add(more));
            tap.check(
                &format!("round {round}: one more is refused"),
                answer.is_err(),
                &format!("{answer:?}"),
            );
        }
        if round.is_multiple_of(5) {
            let released = self.wish(&Request::Release).map(|ids| ids.len());
            tap.check(
                &format!("round {round}: all are released"),
                released == Ok(self.model.len()),
                &format!("{released:?}"),
            );
            self.model.clear();
            self.compare(tap, round, "no rule");
        }
    }

    /// Half a day passes for the engine; a change of rules at a time comes of it.
    fn let_expire(&mut self) {
        self.now = self.now.plus_nanos(12 * 3600 * 1_000_000_000);
        self.model.expire(self.now);
        for _second in 0..RULES_MAX {
            self.now = self.now.plus_nanos(2_000_000_000);
            self.tell(Input::Tick);
            if self.engine.mirror().rules().count() <= self.model.len() {
                return;
            }
        }
    }

    fn compare(&mut self, tap: &mut Tap, round: u32, when: &str) {
        let mut check = |what: &str, result: Result<(), String>| {
            let name = format!("round {round}, {when}: {what} ({} rules)", self.model.len());
            tap.check(&name, result.is_ok(), &result.err().unwrap_or_default());
        };
        check("the kernel's maps are as the model", self.installed.compare(&self.model));
        let told = self.engine.mirror().rules().cloned().collect::<Vec<_>>();
        check("what clients are told is", self.model.compare(&told));
        let store = Store::open(&self.folder.path().join("state"), "boot".into()).unwrap();
        let kept = store.load(self.now);
        let on_disk: Vec<_> = kept.rules.into_iter().map(|kept| kept.rule).collect();
        let good = kept.warnings.is_empty().then_some(()).ok_or(format!("{:?}", kept.warnings));
        check("so is the disk", good.and_then(|()| self.model.compare(&on_disk)));
        let (table, has_rules) = (installed::ruleset(), self.model.len() > 0);
        let result = match (&self.table, table) {
            (_, Err(why)) => Err(why),
            (_, Ok(text))
                if text.contains(FOREIGN) || text.contains(&*self.folder.path().to_string_lossy()) =>
            {
                Err(text)
            }
            (_, Ok(text)) if !has_rules => text.is_empty().then_some(()).ok_or(text),
            (Some(first), Ok(text)) => (*first == text).then_some(()).ok_or(text),
            (None, Ok(text)) => {
                let is_ours = text.starts_with("table inet sekhmet") && text.matches("table ").count() == 1;
                self.table = is_ours.then(|| text.clone());
                is_ours.then_some(()).ok_or(text)
            }
        };
        check("the firewall has the constant table, or none", result);
        self.tickets += 1;
        let ticket = Ticket(self.tickets);
        let listed = self.tell(Input::ListRules { ticket, scope: Scope::All });
        let rules = listed.into_iter().find_map(|effect| match effect {
            Effect::Rules { rules, .. } => Some(rules),
            _ => None,
        });
        let name = format!("round {round}, {when}: so is the list");
        let result = rules.ok_or("no list".to_owned()).and_then(|rules| self.model.compare(&rules));
        tap.check(&name, result.is_ok(), &result.err().unwrap_or_default());
    }

    /// Freezes a request and wishes what it came to, as the bus does between which it asks polkit.
    fn wish(&mut self, request: &Request) -> Result<Vec<RuleId>, String> {
        self.tickets += 1;
        let ticket = Ticket(self.tickets);
        let frozen = self.tell(Input::Freeze { ticket, request: request.clone() });
        let deed: Deed = match frozen.into_iter().next() {
            Some(Effect::Frozen { result, .. }) => result.map_err(|error| error.to_string())?.deed,
            other => return Err(format!("{other:?}")),
        };
        let answered = self.tell(Input::Wish { ticket, wish: Wish { deed, by: 0 } });
        match answered.into_iter().next() {
            Some(Effect::Answer { result, .. }) => result.map_err(|error| error.to_string()),
            other => Err(format!("{other:?}")),
        }
    }

    /// Tells the engine something, has done what it orders, and gives what it answers.
    fn tell(&mut self, input: Input) -> Vec<Effect> {
        let (mut inputs, mut answers) = (VecDeque::from([input]), Vec::new());
        while let Some(input) = inputs.pop_front() {
            for effect in self.engine.step(input, self.now) {
                match effect {
                    Effect::Change(change) => {
                        let result = self.enforcer.apply(&change);
                        inputs.push_back(Input::Applied { id: change.id, result });
                    }
                    Effect::Frozen { .. } | Effect::Rules { .. } | Effect::Answer { .. } => {
                        answers.push(effect)
                    }
                    _ => {}
                }
            }
        }
        answers
    }
}

/// A path that means harm; every second one is that of a file.
fn named(dice: &mut Dice, folder: &Path, number: usize) -> Named {
    let nasty: Vec<u8> =
        NASTY[dice.below(NASTY.len())].iter().map(|b| if *b == b'/' { b'_' } else { *b }).collect();
    let name = [format!("{FOREIGN}-{number}-").as_bytes(), &nasty].concat();
    let path = folder.join(Path::new(std::ffi::OsStr::from_bytes(&name)));
    if number.is_multiple_of(2) {
        fs::write(&path, b"nothing to execute").unwrap();
    }
    Named { key: program_key(&path), path: Text::from(path.as_os_str().as_bytes().to_vec()) }
}

fn program_key(path: &PathBuf) -> Option<ProgramKey> {
    let stat = fs::metadata(path).ok()?;
    let device = rustix::fs::major(stat.dev()) << 20 | rustix::fs::minor(stat.dev());
    Some(ProgramKey { device, inode: stat.ino() })
}

/// Tells the engine of a process and its child, both of which execute this file.
fn family(engine: &mut Engine, policies: &Policies, at: Timestamp, path: &PathBuf, pids: [u32; 2]) -> Family {
    let keys = pids.map(|pid| {
        let key = policies.find_process(pid).unwrap().unwrap();
        ProcessKey { tgid: key.tgid, start_ns: key.start_ns }
    });
    let text = Text::from(path.as_os_str().as_bytes().to_vec());
    let mut ids = [ProcessId(0); 2];
    for (n, key) in keys.iter().enumerate() {
        let image = ProcessImage {
            key: *key,
            parent: (n > 0).then_some(keys[0]),
            uids: Uids { real: 0, effective: 0, saved: 0, fs: 0 },
            cgroup_id: 0,
            net_ns: 0,
            mnt_ns: 1,
            program: program_key(path),
            comm: "victim".into(),
            filename: text.clone(),
            argv: Some(Vec::new()),
            argv_truncated: false,
        };
        engine.step(Input::Observed(vec![Observation::Executed { at, image }]), at);
        let known = engine.mirror().processes().find(|process| process.pid == key.tgid).unwrap();
        ids[n] = known.id;
    }
    let program = Named { key: program_key(path), path: text };
    Family { program, members: [(ids[0], keys[0]), (ids[1], keys[1])] }
}

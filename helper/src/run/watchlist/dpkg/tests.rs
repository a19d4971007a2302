//! The packages of a made-up system.

use std::os::unix::fs::symlink;

use sekhmet_common::watch::{EntryId, Severity};

use super::*;

/// A root with some programs, and a database of what they belong to.
struct System(tempfile::TempDir);

impl System {
    fn new() -> Self {
        let system = Self(tempfile::tempdir().unwrap());
        fs::create_dir_all(system.dpkg().join("info")).unwrap();
        system.change("");
        fs::create_dir_all(system.0.path().join("usr/bin")).unwrap();
        symlink("usr/bin", system.0.path().join("bin")).unwrap();
        system
    }

    fn dpkg(&self) -> PathBuf {
        self.0.path().join("var/lib/dpkg")
    }

    /// As dpkg does: a new file in place of the old one.
    fn change(&self, status: &str) {
        let new = self.dpkg().join("status-new");
        fs::write(&new, status).unwrap();
        fs::rename(new, self.dpkg().join("status")).unwrap();
    }

    fn list(&self, package: &str, paths: &[&str]) {
        fs::write(self.dpkg().join(format!("info/{package}.list")), paths.join("\n") + "\n").unwrap();
    }

    fn file(&self, path: &str, mode: u32) {
        let path = self.0.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, "x").unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    fn database(&self) -> Dpkg {
        Dpkg::at(self.dpkg(), self.0.path().into())
    }
}

fn entry(owner: Owner, expected: &[&str]) -> Entry {
    Entry {
        id: EntryId(1),
        pattern: "/etc/key".into(),
        label: Text::default(),
        group: Text::default(),
        severity: Severity::High,
        expected: expected.iter().map(|&text| text.into()).collect(),
        owner,
        enabled: true,
    }
}

/// `NAME: PATH PATH`, one package a line.
fn shown(packages: Option<Packages>) -> Vec<String> {
    let Some(Packages::Known(all)) = packages else { panic!("{packages:?}") };
    let paths = |paths: &[Text]| paths.iter().map(Text::shown).collect::<Vec<_>>().join(" ");
    all.iter().map(|(name, all)| format!("{name}: {}", paths(all))).collect()
}

#[test]
fn executables_are_those_that_lie_there_now() {
    let system = System::new();
    for (path, mode) in
        [("usr/bin/ssh", 0o755), ("usr/bin/old", 0o755), ("etc/ssh/config", 0o644), ("opt/tool", 0o700)]
    {
        system.file(path, mode);
    }
    symlink("ssh", system.0.path().join("usr/bin/slogin")).unwrap();
    let paths = [
        "/.",
        "/bin",
        "/bin/old",
        "/etc/ssh/config",
        "/opt/tool",
        "/usr/bin",
        "/usr/bin/gone",
        "/usr/bin/slogin",
    ];
    system.list("openssh-client", &[&paths[..], &["/usr/bin/ssh", "relative"]].concat());
    let mut dpkg = system.database();
    dpkg.want(&[entry(Owner::Default, &["package:openssh-client", "package:not-there", "/usr/bin/x"])]);
    // What the list names by a folder that is a link now is the engine's to call by its one name.
    assert_eq!(shown(dpkg.changed()), ["not-there: ", "openssh-client: /bin/old /opt/tool /usr/bin/ssh"]);
    assert_eq!(dpkg.changed(), None);
}

#[test]
fn a_change_of_the_system_or_of_the_list_is_told_once() {
    let system = System::new();
    system.file("usr/bin/one", 0o755);
    system.list("one-pkg", &["/usr/bin/one", "/usr/bin/two"]);
    let mut dpkg = system.database();
    dpkg.want(&[]);
    assert_eq!(shown(dpkg.changed()), [] as [&str; 0]);
    dpkg.want(&[entry(Owner::System, &["package:one-pkg"])]);
    assert_eq!(shown(dpkg.changed()), ["one-pkg: /usr/bin/one"]);
    system.file("usr/bin/two", 0o755);
    assert_eq!(dpkg.changed(), None, "dpkg is not done");
    system.change("Package: one-pkg\n");
    assert_eq!(shown(dpkg.changed()), ["one-pkg: /usr/bin/one /usr/bin/two"]);
    system.change("Package: another one\n");
    assert_eq!(dpkg.changed(), None, "nothing that is wanted is different");
    let off = Entry { enabled: false, ..entry(Owner::System, &["package:one-pkg"]) };
    dpkg.want(&[off]);
    assert_eq!(shown(dpkg.changed()), [] as [&str; 0]);
}

#[test]
fn a_package_of_several_architectures_is_each_of_them_or_one() {
    let system = System::new();
    for name in ["amd64", "i386", "other"] {
        system.file(&format!("usr/lib/{name}/tool"), 0o755);
    }
    system.list("tools:amd64", &["/usr/lib/amd64/tool"]);
    system.list("tools:i386", &["/usr/lib/i386/tool"]);
    system.list("tools-other", &["/usr/lib/other/tool"]);
    let mut dpkg = system.database();
    dpkg.want(&[entry(Owner::Default, &["package:tools", "package:tools:i386"])]);
    let known = shown(dpkg.changed());
    assert_eq!(known, ["tools: /usr/lib/amd64/tool /usr/lib/i386/tool", "tools:i386: /usr/lib/i386/tool"]);
}

#[test]
fn a_diverted_path_belongs_to_whoever_diverted_it() {
    let system = System::new();
    for path in ["usr/bin/edit", "usr/bin/edit.real"] {
        system.file(path, 0o755);
    }
    system.list("editor", &["/usr/bin/edit"]);
    system.list("wrapper", &["/usr/bin/edit"]);
    let text = "/usr/bin/edit\n/usr/bin/edit.real\nwrapper\n/cut\n";
    fs::write(system.dpkg().join("diversions"), text).unwrap();
    let mut dpkg = system.database();
    dpkg.want(&[entry(Owner::Default, &["package:editor", "package:wrapper"])]);
    assert_eq!(shown(dpkg.changed()), ["editor: /usr/bin/edit.real", "wrapper: /usr/bin/edit"]);
}

#[test]
fn nobody_s_own_entries_push_others_out() {
    let system = System::new();
    system.file("usr/bin/ssh", 0o755);
    system.list("zz-ssh", &["/usr/bin/ssh"]);
    let many: Vec<Entry> = (0..20)
        .map(|n| {
            let names: Vec<String> = (0..32).map(|m| format!("package:aa-{n}-{m}")).collect();
            entry(Owner::User(1000), &names.iter().map(String::as_str).collect::<Vec<_>>())
        })
        .chain([entry(Owner::Default, &["package:zz-ssh"])])
        .collect();
    let mut dpkg = system.database();
    dpkg.want(&many);
    let known = shown(dpkg.changed());
    assert_eq!((known.len(), known.last().unwrap().as_str()), (PACKAGES_MAX, "zz-ssh: /usr/bin/ssh"));
}

#[test]
fn without_a_database_the_reason_is_told() {
    let system = System::new();
    fs::remove_file(system.dpkg().join("status")).unwrap();
    let mut dpkg = system.database();
    let told = dpkg.changed();
    assert!(matches!(&told, Some(Packages::Unavailable(reason)) if reason.contains("dpkg")), "{told:?}");
    assert_eq!(dpkg.changed(), None);
    system.change("");
    assert_eq!(dpkg.changed(), Some(Packages::default()));
}

#[test]
fn hostile_lists_are_read_to_their_bounds() {
    let system = System::new();
    let info = system.dpkg().join("info");
    fs::write(info.join("binary.list"), [b'/', 0, 0xff, b'\n', b'/', b'\n', b'\n']).unwrap();
    fs::create_dir(info.join("folder.list")).unwrap();
    let long = format!("/usr/bin/{}\n", "x".repeat(5000));
    fs::write(info.join("long.list"), long).unwrap();
    system.file("usr/bin/a", 0o755);
    let many: Vec<String> = (0..OF_PACKAGE_MAX + 10).map(|n| format!("/usr/bin/a{n}")).collect();
    many.iter().for_each(|path| system.file(&path[1..], 0o755));
    system.list("many", &many.iter().map(String::as_str).collect::<Vec<_>>());
    let mut dpkg = system.database();
    dpkg.want(&[entry(
        Owner::Default,
        &["package:binary", "package:folder", "package:long", "package:many"],
    )]);
    let Some(Packages::Known(all)) = dpkg.changed() else { panic!() };
    let counts: Vec<usize> = all.values().map(Vec::len).collect();
    assert_eq!(counts, [0, 0, 0, OF_PACKAGE_MAX]);
}

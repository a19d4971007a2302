//! Which executables belong to which packages, as dpkg's database has it: the lists of files that it keeps of each
//! package (dpkg-query(1), `--listfiles`; dpkg-divert(1)).

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    ffi::OsStr,
    fs::{self, File},
    io::{self, Read},
    os::unix::{
        ffi::OsStrExt,
        fs::{MetadataExt, PermissionsExt},
    },
    path::{Path, PathBuf},
};

use sekhmet_common::{
    display::Text,
    watch::{Entry, Owner, Reader, reader},
};

use crate::engine::input::Packages;

/// The most packages that are looked up.
const PACKAGES_MAX: usize = 256;

/// The most bytes read of one list, and of the list of diversions: the longest of Debian 12 have about 3 MB.
const LIST_MAX: u64 = 8 * 1024 * 1024;

/// The most executables of one package, and of all.
const OF_PACKAGE_MAX: usize = 4096;
const EXECUTABLES_MAX: usize = 32_768;

/// Why packages cannot be looked up where there is no such database.
const UNAVAILABLE: &str = "packages are looked up in dpkg's database, which this system does not have; name the \
                           programs by their paths";

/// The database as it was last read.
#[derive(Debug)]
pub(super) struct Dpkg {
    /// `/var/lib/dpkg`.
    place: PathBuf,
    /// Where the paths in its lists begin.
    root: PathBuf,
    wanted: BTreeSet<Text>,
    /// The version of the database for which the wanted ones were last told.
    told_of: Option<Version>,
    /// What was told last.
    told: Option<Packages>,
}

/// Tells one state of the file that dpkg replaces last; nothing if there is none.
type Version = Option<(u64, u64, i64, i64)>;

impl Default for Dpkg {
    fn default() -> Self {
        Self::at("/var/lib/dpkg".into(), "/".into())
    }
}

impl Dpkg {
    fn at(place: PathBuf, root: PathBuf) -> Self {
        Self { place, root, wanted: BTreeSet::new(), told_of: None, told: None }
    }

    /// Looks for the packages that these entries expect. Those of entries that come with Sekhmet go first, then an
    /// administrator's: nobody's own entries push others' out.
    pub(super) fn want(&mut self, entries: &[Entry]) {
        let mut wanted = BTreeSet::new();
        for rank in 0..3 {
            let of_rank = entries.iter().filter(|entry| entry.enabled && self::rank(entry.owner) == rank);
            for text in of_rank.flat_map(|entry| &entry.expected) {
                let Ok(Reader::Package(name)) = reader(text) else { continue };
                if wanted.len() < PACKAGES_MAX {
                    wanted.insert(name);
                } else if !wanted.contains(&name) {
                    tracing::warn!(package = %name, "too many packages are expected: not looked up");
                }
            }
        }
        if wanted != self.wanted {
            self.wanted = wanted;
            self.told_of = None;
        }
    }

    /// What belongs to the wanted packages, if that may be different from what was told last.
    pub(super) fn changed(&mut self) -> Option<Packages> {
        let version = self.version();
        if self.told_of == Some(version) {
            return None;
        }
        self.told_of = Some(version);
        let now = match version {
            Some(_) => Packages::Known(self.look_up()),
            None => Packages::Unavailable(UNAVAILABLE.into()),
        };
        if self.told.as_ref() == Some(&now) {
            return None;
        }
        self.told = Some(now.clone());
        Some(now)
    }

    /// dpkg puts a new `status` in place at the end of all that it does.
    fn version(&self) -> Version {
        let meta = fs::metadata(self.place.join("status")).ok().filter(fs::Metadata::is_file)?;
        Some((meta.ino(), meta.size(), meta.ctime(), meta.ctime_nsec()))
    }

    fn look_up(&self) -> BTreeMap<Text, Vec<Text>> {
        if self.wanted.is_empty() {
            return BTreeMap::new();
        }
        let lists = self.lists();
        let diverted = diversions(&read(&self.place.join("diversions")).unwrap_or_default());
        let mut room = EXECUTABLES_MAX;
        let mut known = BTreeMap::new();
        for name in &self.wanted {
            let mut all = Vec::new();
            for list in lists.get(name).into_iter().flatten() {
                match read(list) {
                    Ok(text) => all.extend(self.executables(name, &text, &diverted)),
                    Err(error) => tracing::warn!(package = %name, %error, "a package's list of files"),
                }
            }
            all.sort();
            all.dedup();
            if all.len() > room.min(OF_PACKAGE_MAX) {
                tracing::warn!(package = %name, count = all.len(), "too many programs: some are not expected");
                all.truncate(room.min(OF_PACKAGE_MAX));
            }
            room -= all.len();
            known.insert(name.clone(), all);
        }
        known
    }

    /// The files with the lists of the wanted packages. Of one that may be installed for several architectures at a
    /// time the name has the architecture behind it, wanted or not.
    fn lists(&self) -> HashMap<Text, Vec<PathBuf>> {
        let mut lists: HashMap<Text, Vec<PathBuf>> = HashMap::new();
        let files = match fs::read_dir(self.place.join("info")) {
            Ok(files) => files,
            Err(error) => {
                tracing::warn!(%error, "dpkg's lists of files");
                return lists;
            }
        };
        for file in files.filter_map(Result::ok) {
            let name = file.file_name();
            let Some(package) = name.as_bytes().strip_suffix(b".list") else { continue };
            let plain = package.split(|&b| b == b':').next().unwrap_or(package);
            let names = if plain == package { vec![package] } else { vec![package, plain] };
            for name in names.into_iter().map(Text::from).filter(|name| self.wanted.contains(name)) {
                lists.entry(name).or_default().push(file.path());
            }
        }
        lists
    }

    fn executables(&self, package: &Text, list: &[u8], diverted: &Diversions) -> Vec<Text> {
        let plain = package.as_bytes().split(|&b| b == b':').next().unwrap_or_default();
        let lines = list.split(|&b| b == b'\n').filter(|line| line.starts_with(b"/"));
        let path = |line| match diverted.get(line) {
            // What lies at that path is another package's.
            Some((to, by)) if &by[..] != plain => &to[..],
            _ => line,
        };
        lines.map(path).filter(|path| self.is_executable(path)).map(Text::from).collect()
    }

    /// A file that can be executed; links are not, but what they lead to.
    fn is_executable(&self, path: &[u8]) -> bool {
        let below = path.strip_prefix(b"/").unwrap_or(path);
        match fs::symlink_metadata(self.root.join(OsStr::from_bytes(below))) {
            Ok(meta) => meta.is_file() && meta.permissions().mode() & 0o111 != 0,
            // In a folder that is closed to the helper: who can say.
            Err(error) => error.kind() == io::ErrorKind::PermissionDenied,
        }
    }
}

fn rank(owner: Owner) -> u8 {
    match owner {
        Owner::Default => 0,
        Owner::System => 1,
        Owner::User(_) => 2,
    }
}

/// By path: where the files of other packages lie that have it, and by which package it was diverted.
type Diversions = HashMap<Vec<u8>, (Vec<u8>, Vec<u8>)>;

/// Reads `diversions`: three lines each, the path, the other path, and the package (`:` for an administrator).
fn diversions(text: &[u8]) -> Diversions {
    let lines: Vec<&[u8]> = text.split(|&b| b == b'\n').collect();
    let (all, _rest) = lines.as_chunks::<3>();
    all.iter().map(|[from, to, by]| (from.to_vec(), (to.to_vec(), by.to_vec()))).collect()
}

fn read(file: &Path) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    File::open(file)?.take(LIST_MAX).read_to_end(&mut text)?;
    Ok(text)
}

#[cfg(test)]
mod tests;

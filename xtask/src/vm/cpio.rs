//! Writes an initramfs: the "newc" archive format of the kernel's Documentation/driver-api/early-userspace/buffer-format.rst.

use std::io::{self, Write};

/// File type bits of `st_mode` (inode(7)).
const S_IFDIR: u32 = 0o040_000;
const S_IFREG: u32 = 0o100_000;
const S_IFCHR: u32 = 0o020_000;

/// An archive under construction. Parents must be added before what lies in them.
pub(super) struct Archive<W: Write> {
    out: W,
    inode: u32,
}

impl<W: Write> Archive<W> {
    /// An empty archive that writes to `out`.
    pub(super) fn new(out: W) -> Self {
        Self { out, inode: 0 }
    }

    /// Adds a folder with mode 0755. `path` has no leading slash.
    ///
    /// # Errors
    /// When `out` cannot be written.
    pub(super) fn folder(&mut self, path: &str) -> io::Result<()> {
        self.entry(path, S_IFDIR | 0o755, (0, 0), &[])
    }

    /// Adds a file with the given permission bits.
    ///
    /// # Errors
    /// When `out` cannot be written, or the file is larger than the format's 4 GiB.
    pub(super) fn file(&mut self, path: &str, permissions: u32, content: &[u8]) -> io::Result<()> {
        self.entry(path, S_IFREG | permissions, (0, 0), content)
    }

    /// Adds a character device, mode 0600.
    ///
    /// # Errors
    /// When `out` cannot be written.
    pub(super) fn device(&mut self, path: &str, major: u32, minor: u32) -> io::Result<()> {
        self.entry(path, S_IFCHR | 0o600, (major, minor), &[])
    }

    /// Writes the closing entry and gives back the writer.
    ///
    /// # Errors
    /// When `out` cannot be written.
    pub(super) fn finish(mut self) -> io::Result<W> {
        self.inode = 0;
        self.header("TRAILER!!!", 0, (0, 0), 0)?;
        self.out.flush()?;
        Ok(self.out)
    }

    fn entry(&mut self, path: &str, mode: u32, device: (u32, u32), content: &[u8]) -> io::Result<()> {
        self.inode += 1;
        let size = u32::try_from(content.len())
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
        self.header(path, mode, device, size)?;
        self.out.write_all(content)?;
        self.pad(content.len())
    }

    /// The 110 bytes of a header, thirteen numbers as eight hexadecimal digits, then the name with its closing NUL.
    fn header(&mut self, path: &str, mode: u32, device: (u32, u32), size: u32) -> io::Result<()> {
        let name_size = u32::try_from(path.len() + 1)
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
        let links = 1;
        let fields = [self.inode, mode, 0, 0, links, 0, size, 0, 0, device.0, device.1, name_size, 0];
        write!(self.out, "070701")?;
        for field in fields {
            write!(self.out, "{field:08X}")?;
        }
        self.out.write_all(path.as_bytes())?;
        self.out.write_all(&[0])?;
        self.pad(110 + path.len() + 1)
    }

    /// Every name and every content ends on a border of four bytes.
    fn pad(&mut self, length: usize) -> io::Result<()> {
        self.out.write_all(&[0; 3][..length.wrapping_neg() % 4])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Command, Stdio};

    fn sample() -> Vec<u8> {
        let mut archive = Archive::new(Vec::new());
        archive.folder("etc").unwrap();
        archive.file("etc/name", 0o644, b"sekhmet\n").unwrap();
        archive.file("init", 0o755, b"12345").unwrap();
        archive.finish().unwrap()
    }

    #[test]
    fn headers_and_contents_lie_on_borders_of_four() {
        let bytes = sample();
        assert_eq!(bytes.len() % 4, 0);
        let magics: Vec<usize> = bytes
            .windows(6)
            .enumerate()
            .filter(|(_, window)| window == b"070701")
            .map(|(at, _)| at)
            .collect();
        assert_eq!(magics.len(), 4);
        assert!(magics.iter().all(|at| at % 4 == 0), "{magics:?}");
        assert_eq!(&bytes[..22], b"07070100000001000041ED");
    }

    #[test]
    fn cpio_itself_reads_the_archive() {
        let dir = tempfile::tempdir().unwrap();
        let Ok(mut cpio) = Command::new("cpio")
            .args(["-id", "--quiet"])
            .current_dir(dir.path())
            .stdin(Stdio::piped())
            .spawn()
        else {
            return; // Only a second opinion: the kernel is the reader that counts.
        };
        cpio.stdin.take().unwrap().write_all(&sample()).unwrap();
        assert!(cpio.wait().unwrap().success());
        assert_eq!(std::fs::read(dir.path().join("etc/name")).unwrap(), b"sekhmet\n");
        assert_eq!(std::fs::read(dir.path().join("init")).unwrap(), b"12345");
    }
}

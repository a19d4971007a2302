//! Programs that are bound to rules: whoever executes one is bound from its first instruction.

use std::{
    io,
    os::fd::{AsFd, AsRawFd, BorrowedFd},
};

use sekhmet_common::kernel::{FileRow, Policy, ProcessKey, ProgramKey, Switch};

use super::{BATCH, Policies, PolicyError, count, get, remove, without};
use crate::kernel::{reading::rows, sys};

impl Policies {
    /// Binds every process that executes this program from now on, before the program has run.
    ///
    /// # Errors
    /// As [`Self::bind`].
    pub fn bind_program(&mut self, program: ProgramKey, number: u32) -> Result<(), PolicyError> {
        let policy = self.with(get(&self.programs, &program)?, number)?;
        self.programs.insert(program, policy, 0)?;
        self.count_programs()
    }

    /// Binds no more processes that execute this program. Those that did stay bound.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn unbind_program(&mut self, program: ProgramKey, number: u32) -> Result<(), PolicyError> {
        if let Some(policy) = get(&self.programs, &program)? {
            match without(policy, number) {
                Some(policy) => self.programs.insert(program, policy, 0)?,
                None => remove(&mut self.programs, &program)?,
            }
        }
        self.count_programs()
    }

    /// How the kernel tells this executable from others. The file may be opened with `O_PATH`.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn program_key(&self, file: BorrowedFd<'_>) -> io::Result<ProgramKey> {
        if let Some(names) = &self.names {
            let number = file.as_raw_fd().unsigned_abs();
            let row = rows::<FileRow>(names)?.into_iter().find(|row| row.fd == number);
            // What stat(2) says may be another file's name in the kernel: rather none.
            return row.map(|row| row.program).ok_or_else(|| io::ErrorKind::NotFound.into());
        }
        let stat = rustix::fs::fstat(file)?;
        // The kernel's own form (`MKDEV`): 12 bits, then 20.
        let device = rustix::fs::major(stat.st_dev) << 20 | rustix::fs::minor(stat.st_dev);
        Ok(ProgramKey { device, reserved: 0, inode: stat.st_ino })
    }

    /// The processes that execute one of these programs now.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn running(&self, programs: &[ProgramKey]) -> io::Result<Vec<ProcessKey>> {
        let tasks = self.list_tasks()?;
        Ok(tasks.iter().filter(|task| programs.contains(&task.program)).map(|task| task.process).collect())
    }

    /// The numbers of the rules that stand.
    pub fn rules(&self) -> Vec<u32> {
        self.standing.values().map(|rule| rule.number).collect()
    }

    pub(super) fn count_programs(&mut self) -> Result<(), PolicyError> {
        let programs = self.list_programs()?.len();
        self.flip(Switch { programs: count(programs), ..self.now })
    }

    pub(super) fn list_programs(&self) -> io::Result<Vec<(ProgramKey, Policy)>> {
        sys::read_hash(self.all_programs.as_fd(), BATCH)
    }
}

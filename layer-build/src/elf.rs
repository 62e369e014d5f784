//! Requirements of a binary on its system, and the sizes of its parts.

use std::fmt;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use object::elf::{PT_DYNAMIC, PT_INTERP, SHF_ALLOC};
use object::read::elf::{Dyn, ElfFile64, FileHeader, ProgramHeader, SectionHeader};
use object::{Endianness, elf};

use crate::arch::Arch;

/// The newest version of glibc symbols in Amazon Linux 2.
pub(crate) const AMAZON_LINUX_2: (u32, u32) = (2, 26);
/// The newest version of glibc symbols in Amazon Linux 2023.
pub(crate) const AMAZON_LINUX_2023: (u32, u32) = (2, 34);

/// Facts about a binary.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Facts {
    /// The newest version of glibc that a symbol requires; `None` for a static binary.
    glibc: Option<(u32, u32)>,
    machine: elf::Machine,
    size: u64,
    code: u64,
    constants: u64,
    unwinding: u64,
    relocations: u64,
}

impl Facts {
    /// Reads a binary and checks that it runs on `arch` with a glibc of version `newest`.
    ///
    /// # Errors
    ///
    /// If it is not a 64-bit ELF file, or would not run there.
    pub(crate) fn of(binary: &Path, arch: Arch, newest: (u32, u32)) -> Result<Self> {
        let bytes = std::fs::read(binary).with_context(|| format!("read {}", binary.display()))?;
        let facts = Self::read(&bytes).with_context(|| binary.display().to_string())?;
        facts
            .require(arch, newest)
            .with_context(|| binary.display().to_string())?;
        Ok(facts)
    }

    fn require(&self, arch: Arch, newest: (u32, u32)) -> Result<()> {
        let machine = match arch {
            Arch::X86_64 => elf::EM_X86_64,
            Arch::Arm64 => elf::EM_AARCH64,
        };
        ensure!(
            self.machine == machine,
            "wrong processor for {}: ELF machine {:?}, expected {machine:?}",
            arch.name(),
            self.machine
        );
        if let Some((major, minor)) = self.glibc.filter(|version| *version > newest) {
            bail!(
                "requires glibc {major}.{minor}, but its system has {}.{}",
                newest.0,
                newest.1
            );
        }
        Ok(())
    }

    fn read(bytes: &[u8]) -> Result<Self> {
        let file = ElfFile64::<Endianness>::parse(bytes)?;
        let endian = file.endian();
        let mut facts = Self {
            machine: file.elf_header().e_machine(endian),
            size: bytes.len() as u64,
            ..Self::default()
        };
        let mut dynamic = false;
        for segment in file.elf_program_headers() {
            dynamic |= segment.p_type(endian) == PT_INTERP;
            if segment.p_type(endian) == PT_DYNAMIC {
                // A static position-independent program also has such a segment, to relocate
                // itself, but names no library in it.
                let entries = segment.dynamic(endian, bytes)?.unwrap_or_default();
                dynamic |= entries
                    .iter()
                    .any(|entry| entry.d_tag(endian) == elf::DT_NEEDED);
            }
        }
        let sections = file.elf_header().sections(endian, bytes)?;
        for section in sections.iter() {
            if !section.sh_flags(endian).contains(SHF_ALLOC)
                || section.sh_type(endian) == elf::SHT_NOBITS
            {
                continue;
            }
            let name = sections.section_name(endian, section)?;
            let part = match name {
                b".text" => &mut facts.code,
                name if name.starts_with(b".eh_frame") => &mut facts.unwinding,
                name if name.starts_with(b".rel") => &mut facts.relocations,
                _ => &mut facts.constants,
            };
            *part += section.sh_size(endian);
        }
        if dynamic {
            facts.glibc = newest_glibc(bytes);
            ensure!(
                facts.glibc.is_some(),
                "dynamic program without glibc symbols, expected a static one or glibc"
            );
        }
        Ok(facts)
    }
}

/// Returns the newest `GLIBC_x.y` among the version names, which are plain strings in the file.
fn newest_glibc(bytes: &[u8]) -> Option<(u32, u32)> {
    bytes
        .split(|byte| *byte == 0)
        .filter_map(|text| {
            let version = str::from_utf8(text).ok()?.strip_prefix("GLIBC_")?;
            let mut numbers = version.split('.').map(str::parse);
            Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
        })
        .max()
}

impl fmt::Display for Facts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = self.code + self.constants + self.unwinding + self.relocations;
        match self.glibc {
            Some((major, minor)) => write!(f, "highest glibc symbol {major}.{minor}")?,
            None => f.write_str("highest glibc symbol none (static)")?,
        }
        write!(
            f,
            "; binary {} bytes: code {}, constants and data {}, unwind tables {}, relocations {}, \
             headers and padding {}",
            self.size,
            self.code,
            self.constants,
            self.unwinding,
            self.relocations,
            self.size.saturating_sub(parts)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn newest_version_is_compared_by_number() {
        let bytes = b"\0GLIBC_2.9\0GLIBC_2.17\0GLIBC_2.2.5\0GLIBC_PRIVATE\0XGLIBC_9.9\0";
        assert_eq!(newest_glibc(bytes), Some((2, 17)));
        assert_eq!(newest_glibc(b"nothing"), None);
    }

    #[test]
    fn dynamic_program_requires_glibc_and_its_processor() {
        let bytes = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        let facts = Facts::read(&bytes).unwrap();
        assert!(facts.glibc.is_some());
        assert!(facts.code > 0 && facts.code < facts.size);
        let [here, other] = match Arch::X86_64.is_here() {
            true => [Arch::X86_64, Arch::Arm64],
            false => [Arch::Arm64, Arch::X86_64],
        };
        facts.require(here, (9, 9)).unwrap();
        let error = facts.require(here, (2, 0)).unwrap_err().to_string();
        assert!(error.contains("requires glibc 2."), "{error}");
        let error = facts.require(other, (9, 9)).unwrap_err().to_string();
        assert!(error.contains("wrong processor"), "{error}");
    }

    #[test]
    fn file_that_is_not_elf_is_an_error() {
        assert!(Facts::read(b"#!/bin/sh\n").is_err());
    }
}

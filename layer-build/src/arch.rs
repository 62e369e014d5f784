//! Processors of Lambda and their names.

/// A processor on which Lambda runs functions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Arch {
    /// Intel and AMD.
    X86_64,
    /// Graviton.
    Arm64,
}

impl Arch {
    pub(crate) const ALL: [Self; 2] = [Self::X86_64, Self::Arm64];

    /// Name in Lambda's API.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::X86_64 => "x86_64",
            Self::Arm64 => "arm64",
        }
    }

    /// Name in Rust's targets and in the kernel.
    pub(crate) const fn machine(self) -> &'static str {
        match self {
            Self::X86_64 => "x86_64",
            Self::Arm64 => "aarch64",
        }
    }

    /// Target of the extension. A musl program needs no library of the system that runs it. Libc and
    /// linker come with Rust, so nothing else has to be installed and the same Rust gives the same
    /// bytes.
    pub(crate) const fn target(self) -> &'static str {
        match self {
            Self::X86_64 => "x86_64-unknown-linux-musl",
            Self::Arm64 => "aarch64-unknown-linux-musl",
        }
    }

    /// Target for which cargo-lambda builds functions.
    pub(crate) const fn function_target(self) -> &'static str {
        match self {
            Self::X86_64 => "x86_64-unknown-linux-gnu",
            Self::Arm64 => "aarch64-unknown-linux-gnu",
        }
    }

    pub(crate) fn zip_name(self) -> String {
        format!("tracestitch-{}.zip", self.name())
    }

    /// Returns true if this machine runs such programs without an emulator.
    pub(crate) fn is_here(self) -> bool {
        std::env::consts::ARCH == self.machine()
    }
}

//! `cargo layer`: makes the layer zips, reports their contents, and checks the stacks that deploy
//! them.
//!
//! | module | question it answers |
//! |---|---|
//! | `arch` | which processors are there, and what are their names? |
//! | `compile` | how is the extension built to the same bytes on every machine? |
//! | `elf` | will the binary start on Amazon Linux, and how large are its parts? |
//! | `linker_map` | which crates do its bytes come from? |
//! | `start` | does it start, register and end? |
//! | `output` | how do lines reach the user? |
//! | `package` | how do the bytes become a layer? |
//! | `sbom` | which crates are in it? |
//! | `notes` | what does a release contain, and which Rust made it? |
//! | `again` | does another folder give the same bytes? |
//! | `facts` | do the three stacks agree? |
//! | `audit` | can the stacks be created, and are their settings safe? |
//! | `guide` | do the commands of docs/deploy.md work? |
//! | `image` | does the container image have all files? |
//! | `tools` | where do the validators come from? |
//! | `validate` | do they accept the stacks, and does the template build? |

mod again;
mod arch;
mod audit;
mod compile;
mod elf;
mod facts;
mod guide;
mod image;
mod linker_map;
mod notes;
mod output;
mod package;
mod sbom;
mod start;
mod tools;
mod validate;

use std::io::{Write, stderr};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};

use crate::arch::Arch;
use crate::compile::Workspace;
use crate::output::say;
use crate::validate::Build;

const USAGE: &str = "\
cargo layer             target/layer/tracestitch-{x86_64,arm64}.zip and a report
cargo layer --strict    the same; fails if a start-up check is not possible, runs the
                        extension's tests with both binaries, and builds everything again in
                        another folder to compare the bytes
cargo layer tools       installs sam, cfn-lint and cargo-lambda in target/tools (with pip)
cargo layer validate    runs the commands of docs/deploy.md that need no AWS account; checks
                        template.yaml, terraform/, cdk/, container/ and the workflows with their
                        validators and against each other, and creates the stacks in moto
cargo layer validate --full
                        also builds the template as for a deployment, for both processors
cargo layer notes TAG   prints the notes of a release; fails if the tag is not the version
";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let workspace = Workspace::here();
    let outcome = match arguments[..] {
        [] => layers(&workspace, false),
        ["--strict"] => layers(&workspace, true),
        ["tools"] => tools::install(&workspace).map(drop),
        ["validate"] => validate::all(&workspace, Build::Quick),
        ["validate", "--full"] => validate::all(&workspace, Build::Full),
        ["notes", tag] => notes::of(&workspace, tag).and_then(say),
        ["--help" | "-h"] => say(USAGE),
        _ => Err(anyhow::anyhow!("expected one of:\n{USAGE}")),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // If standard error is closed, there is no other place for the message.
            let _ = writeln!(stderr(), "error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn layers(workspace: &Workspace, strict: bool) -> Result<()> {
    compile::require_targets(&Arch::ALL.map(Arch::target))?;
    say(format_args!("built with {}", compile::compiler()?))?;
    let mut sums = String::new();
    for arch in Arch::ALL {
        let built = compile::extension(workspace, arch)?;
        let layer = package::layer(workspace, arch, &built.binary)?;
        sums += &format!("{}  {}\n", layer.sha256, arch.zip_name());
        say(format_args!("{layer}"))?;
        say(format_args!(
            "  {}",
            elf::Facts::of(&built.binary, arch, elf::AMAZON_LINUX_2)?
        ))?;
        say(format_args!("  {}", linker_map::shares(&built.map)?))?;
        match start::check(arch, &built.binary)? {
            start::Started::Yes(took) => say(format_args!(
                "  started: registered after {:.1} ms, ended after SHUTDOWN",
                took.as_secs_f64() * 1000.0
            ))?,
            start::Started::NoEmulator(advice) if strict => bail!("{advice}"),
            start::Started::NoEmulator(advice) => say(format_args!("  not started: {advice}"))?,
        }
        if strict {
            start::pass_tests(workspace, arch, &built.binary)?;
            say("  tested: the extension's tests pass with this binary")?;
            let digest = again::sha256(workspace, arch)?;
            if digest != layer.sha256 {
                bail!(
                    "{} has digest {} here and {digest} if built in {}: the bytes depend on the \
                     folder",
                    arch.zip_name(),
                    layer.sha256,
                    again::folder(workspace).display()
                );
            }
            say("  built again in another folder: the same bytes")?;
        }
    }
    let (sbom, components) = sbom::write(workspace)?;
    say(format_args!("{}: {components} components", sbom.display()))?;
    notes::write_compiler(workspace)?;
    let path = workspace.output().join("SHA256SUMS");
    std::fs::write(&path, sums).with_context(|| format!("write {}", path.display()))
}

//! The start of a function's execution environment: checks of its settings.

use std::{
    fmt,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use super::{environment::Environment, function::Function, process::file_name};

/// Largest number of extensions of one function (Lambda developer guide, "Extensions").
const MAX_EXTENSIONS: usize = 10;

impl Function {
    /// Makes the execution environment. No process starts before the first invocation, as on
    /// Lambda without provisioned concurrency. Call it within a tokio runtime.
    ///
    /// # Errors
    ///
    /// Fails if a program is missing or not executable, if there are more than 10 extensions or
    /// two with the same file name, or if the directory for sockets cannot be made.
    pub async fn start(mut self) -> Result<Environment, StartError> {
        self.program = executable("function", &self.program).await?;
        for program in &mut self.extensions {
            *program = executable("extension", program).await?;
        }
        let mut names: Vec<_> = self.extensions.iter().map(|path| file_name(path)).collect();
        if names.len() > MAX_EXTENSIONS {
            return Err(StartError(format!(
                "{} has {} extensions; Lambda allows {MAX_EXTENSIONS}",
                self.name,
                names.len()
            )));
        }
        names.sort();
        if let Some(pair) = names.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(StartError(format!(
                "{} has two extensions with the file name {:?}; names must differ",
                self.name, pair[0]
            )));
        }
        let name = self.name.clone();
        Environment::new(self)
            .map_err(|error| StartError(format!("cannot make a directory for {name}: {error}")))
    }
}

/// Returns the absolute path without following links: an extension is named after its link.
async fn executable(role: &str, path: &Path) -> Result<PathBuf, StartError> {
    let refused = |problem: &dyn fmt::Display| {
        StartError(format!(
            "cannot run {} as {role}: {problem}",
            path.display()
        ))
    };
    let path = std::path::absolute(path).map_err(|error| refused(&error))?;
    let metadata = tokio::fs::metadata(&path)
        .await
        .map_err(|error| refused(&error))?;
    if !metadata.is_file() || metadata.permissions().mode() & 0o111 == 0 {
        return Err(refused(&"not an executable file"));
    }
    Ok(path)
}

/// Why an environment cannot be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StartError(String);

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for StartError {}

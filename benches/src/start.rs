//! Cost of the extension in a cold start. Beside it a bare extension on `lambda-extension`, built in
//! the same way: `cargo cost start`.

use std::fs;
use std::io;

use crate::build;
use crate::cold_start;
use crate::table::Table;

const ROUNDS: usize = 61;

pub(crate) fn table() -> io::Result<String> {
    let programs = [
        build::static_program("bare-extension")?,
        build::extension()?,
    ];
    let starts = cold_start::medians(&programs, ROUNDS, &|_, _| Ok(None))?;
    let mut table = Table::new(&[
        "extension",
        "first `next`, ms",
        "ratio",
        "CPU time, ms",
        "resident, KB",
        "size, KB",
    ]);
    let names = ["`lambda-extension` alone", "tracestitch"];
    for ((program, start), name) in programs.iter().zip(&starts).zip(names) {
        table.push([
            name.to_owned(),
            format!("{:.2}", start.next),
            format!("{:.2}", start.next / starts[0].next),
            format!("{:.2}", start.cpu),
            format!("{:.0}", start.resident),
            (fs::metadata(program)?.len() / 1000).to_string(),
        ]);
    }
    Ok(table.to_string())
}

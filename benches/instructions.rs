//! The pieces of an event's way by the instructions they take: the same number whatever else the
//! machine does, so that noise hides no regression. `scripts/bench --instructions`.
//!
//! Each piece is run by this program under callgrind, so and so often, and more often: the
//! difference is the piece alone. callgrind shows the program an older processor, without
//! instructions for SHA, so `verify` takes more there than it does by itself.

#![allow(clippy::print_stdout, reason = "the figures are what it is for")]

#[path = "pieces/work.rs"]
mod work;

use std::process::{Command, ExitCode};

use work::{PIECES, Piece, Work};

/// The program's own.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Events that each piece takes in its shorter run, and in its longer one.
const EVENTS: [u64; 2] = [2_000, 6_000];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [flag, name, events] = arguments.as_slice()
        && flag == "--run"
    {
        run(name, events);
        return ExitCode::SUCCESS;
    }
    println!("{:>8} instructions an event", "");
    for piece in &PIECES {
        match instructions(piece) {
            Ok(count) => println!("{:>8} {count:>10}", piece.name),
            Err(error) => {
                eprintln!("instructions: {error}");
                return ExitCode::FAILURE;
            }
        }
    }
    ExitCode::SUCCESS
}

fn run(name: &str, events: &str) {
    let (work, events) = (Work::new(), events.parse().unwrap_or(0));
    for piece in PIECES.iter().filter(|piece| piece.name == name) {
        (0..events / piece.events)
            .for_each(|number| (piece.run)(&work, usize::try_from(number).unwrap_or(0)));
    }
}

/// What an event takes in the difference of the two runs.
fn instructions(piece: &Piece) -> Result<u64, String> {
    let [fewer, more] = EVENTS;
    let (one, other) = (count(piece.name, fewer)?, count(piece.name, more)?);
    Ok((other - one) / (more - fewer))
}

fn count(name: &str, events: u64) -> Result<u64, String> {
    let this = std::env::current_exe().map_err(|error| error.to_string())?;
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(this)
        .args(["--run", name, &events.to_string()])
        .output()
        .map_err(|_| "there is no valgrind here to count with; install it".to_owned())?;
    let said = String::from_utf8_lossy(&output.stderr);
    let collected = said
        .lines()
        .find_map(|line| line.split_once("Collected :")?.1.trim().parse().ok());
    collected.ok_or_else(|| format!("callgrind counted nothing: {said}"))
}

//! The pieces of an event's way by the clock: `cargo bench --bench pieces`. For changes that are
//! too small for the clock of a busy machine, there is `scripts/bench --instructions`.

mod work;

use divan::Bencher;
use divan::counter::ItemsCount;

use work::{PIECES, Piece, Work};

/// The program's own.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() {
    divan::main();
}

#[divan::bench(args = &PIECES)]
fn piece(bencher: Bencher, piece: &Piece) {
    let work = Work::new();
    let mut number = 0;
    bencher
        .counter(ItemsCount::new(piece.events))
        .bench_local(|| {
            (piece.run)(&work, number);
            number += 1;
        });
}

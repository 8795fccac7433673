//! The pieces of an event's way by the clock: `cargo bench --bench pieces`. For changes that are
//! too small for the clock of a busy machine, there is `scripts/bench --instructions`.

mod work;

use criterion::{Criterion, Throughput};

use work::{PIECES, Work};

/// The program's own.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    let work = Work::new();
    let mut group = criterion.benchmark_group("pieces");
    for piece in &PIECES {
        group.throughput(Throughput::Elements(piece.events));
        group.bench_function(piece.name, |bencher| {
            let mut number = 0;
            bencher.iter(|| {
                (piece.run)(&work, number);
                number += 1;
            });
        });
    }
    group.finish();
    criterion.final_summary();
}

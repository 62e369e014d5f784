//! Processes that are killed, stopped, starved or left alone, at every moment of their work: what
//! reaches the X-Ray daemon is exactly what must.
//!
//! What must arrive is told by [`e2e::oracle`] from a journal that function and test keep outside
//! of the tracer. All processes are real; Lambda is played by `tracestitch_local::emulator`, and
//! where it can, by AWS's Runtime Interface Emulator.
//!
//! Random moments come from a seed, which a failure names:
//!
//! ```sh
//! cargo test -p e2e --test faults                    # a few moments each
//! FAULTS=full cargo test -p e2e --test faults        # 200 kills, 200 freezes, 50 dead extensions,
//!                                                    # 100,000 invocations
//! FAULTS_SEED=7 cargo test -p e2e --test faults      # the moments of another run
//! ```

#![allow(
    clippy::unwrap_used,
    reason = "what fails here fails the test, also in helpers outside of a test function"
)]

mod afterwards;
mod alone;
mod batches;
mod contexts;
mod emulated;
mod ends;
mod frozen;
mod killed;
mod moments;
mod pace;
mod rounds;
mod soak;
mod strikes;
mod unsampled;
mod victim;

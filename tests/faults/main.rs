//! Processes that are killed, stopped or left without the extension at any moment of their work:
//! exactly the expected documents reach the X-Ray daemon.
//!
//! [`e2e::oracle`] derives the expected documents from a journal that function and test keep
//! outside of the tracer. All processes are real. They run under `tracestitch_local::emulator`, and
//! where that is possible under AWS's Runtime Interface Emulator.
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
    reason = "a failure in a helper fails the test, too"
)]

mod afterwards;
mod alone;
mod batches;
mod bursts;
mod contexts;
mod emulated;
mod ends;
mod frozen;
mod kept;
mod killed;
mod moments;
mod pace;
mod rounds;
mod soak;
mod strikes;
mod unsampled;
mod victim;

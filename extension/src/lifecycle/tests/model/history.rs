//! Histories, and the generator of random ones.

pub(super) const SESSIONS: u64 = 3;
pub(super) const IDS: u64 = 6;

#[derive(Debug, Clone, Copy)]
pub(super) enum Step {
    Connect(u64),
    Open(u64, u64),
    Close(u64, u64),
    /// Opens a finished document, which is sent only if its function dies.
    OpenFinished(u64, u64),
    Discard(u64, u64),
    /// Announces the invocation whose event came last.
    BeginCurrent(u64),
    /// Announces the invocation whose event comes next.
    BeginNext(u64),
    EndCurrent(u64),
    EndNext(u64),
    Drain(u64),
    Leave(u64),
    Gone(u64),
    Invoke {
        deadline: Deadline,
        /// The id of the invocation before.
        retry: bool,
        newcomers: bool,
    },
    Timer,
    /// Seconds by which the wall clock jumps.
    Clock(i64),
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Deadline {
    None,
    Past,
    Soon,
    Far,
}

/// One environment, from its registration to its shutdown.
#[derive(Debug)]
pub(super) struct History {
    pub(super) managed: bool,
    /// Room for few documents only.
    pub(super) narrow: bool,
    pub(super) steps: Vec<Step>,
    pub(super) reason: &'static str,
}

/// The generator of Vigna's splitmix64.
pub(super) struct Random(pub(super) u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % limit
    }

    pub(super) fn history(&mut self) -> History {
        let length = 1 + self.below(120);
        History {
            managed: self.below(4) == 0,
            narrow: self.below(8) == 0,
            steps: (0..length).map(|_| self.step()).collect(),
            reason: ["timeout", "failure", "spindown", "moved"][self.below(4) as usize],
        }
    }

    fn step(&mut self) -> Step {
        let (session, id) = (self.below(SESSIONS), self.below(IDS));
        match self.below(64) {
            0..9 => Step::Connect(session),
            9..17 => Step::Open(session, id),
            17..21 => Step::OpenFinished(session, id),
            21..35 => Step::Close(session, id),
            35..37 => Step::Discard(session, id),
            37..42 => Step::EndCurrent(session),
            42..44 => Step::EndNext(session),
            44 => Step::Drain(session),
            45 => Step::Leave(session),
            46..48 => Step::Gone(session),
            48..52 => Step::BeginCurrent(session),
            52..55 => Step::BeginNext(session),
            55..60 => Step::Invoke {
                deadline: match self.below(8) {
                    0 => Deadline::None,
                    1 => Deadline::Past,
                    2 => Deadline::Far,
                    _ => Deadline::Soon,
                },
                retry: self.below(4) == 0,
                newcomers: self.below(8) == 0,
            },
            60..63 => Step::Timer,
            _ => Step::Clock(self.below(4 * 86_400) as i64 - 2 * 86_400),
        }
    }
}

//! The addresses of one S3 endpoint that a worker knows: how long, and which of them is next.
//!
//! Times are nginx's milliseconds, which may wrap.

use std::net::SocketAddr;

/// A time, or a span of it, in milliseconds.
pub type Msec = usize;

/// How long an address is not asked after it failed: the default of nginx's `fail_timeout`.
const REST: Msec = 10_000;
/// How long connections to an address are used that the last answer of DNS lacks.
const LEAVE: Msec = 15_000;
/// How long after its time an answer is used while a newer one is awaited.
const STALE: Msec = 60_000;
/// How long a name server may be silent before it counts as one that fails.
const SILENT: Msec = 2_000;
/// How long after its time an answer is used while DNS fails. Then nginx asks, and says what is wrong.
const OUTAGE: Msec = 3_600_000;
/// How long after a failure DNS is asked again.
const RETRY: Msec = 1_000;
/// As many addresses of an answer are used.
const MOST: usize = 256;

fn is_past(time: Msec, now: Msec) -> bool {
    now.wrapping_sub(time) as isize >= 0
}

/// One address of the endpoint.
#[derive(Debug, PartialEq, Eq)]
pub struct Address {
    /// Where it is.
    pub at: SocketAddr,
    /// The same as text, `address:port`.
    pub text: Box<str>,
    /// At most so many idle connections to it are kept.
    kept: usize,
    /// When it may be asked again, after a failure.
    rests_until: Option<Msec>,
    /// When connections to it are given up, as DNS does not name it any more.
    leaves_at: Option<Msec>,
}

impl Address {
    fn new(at: SocketAddr) -> Self {
        let text = at.to_string().into();
        Address { at, text, kept: 0, rests_until: None, leaves_at: None }
    }

    fn rests(&self, now: Msec) -> bool {
        self.rests_until.is_some_and(|until| !is_past(until, now))
    }

    fn has_left(&self, now: Msec) -> bool {
        self.leaves_at.is_some_and(|at| is_past(at, now))
    }
}

/// What a worker knows of an endpoint's addresses.
#[derive(Default)]
pub struct Addresses {
    list: Vec<Address>,
    /// Where the next search begins.
    turn: usize,
    /// When DNS is to be asked again; `None` until it was asked.
    due: Option<Msec>,
    /// When the last answer's time was over; `None` until there was one.
    over: Option<Msec>,
    /// Since when an answer is awaited.
    asking: Option<Msec>,
    /// Whether DNS failed the last time.
    fails: bool,
}

impl Addresses {
    /// The address of an endpoint that is one.
    pub fn fixed(at: SocketAddr) -> Self {
        Addresses { list: vec![Address::new(at)], ..Addresses::default() }
    }

    /// Whether DNS is to be asked now. The question then counts as asked.
    pub fn is_to_ask(&mut self, now: Msec) -> bool {
        let ask = self.asking.is_none() && self.due.is_none_or(|due| is_past(due, now));
        if ask {
            self.asking = Some(now);
        }
        ask
    }

    /// Whether connections may go to what is known; if not, nginx is to resolve the name itself.
    pub fn is_usable(&self, now: Msec) -> bool {
        let Some(due) = self.due else { return false };
        if self.is_outdated(now) {
            return false;
        }
        let silent = self.asking.is_some_and(|since| is_past(since.wrapping_add(SILENT), now));
        self.len() > 0 && (silent || !is_past(due.wrapping_add(STALE), now))
    }

    fn is_outdated(&self, now: Msec) -> bool {
        self.over.is_none_or(|over| is_past(over.wrapping_add(OUTAGE), now))
    }

    /// Takes an answer of DNS that is valid for `ttl` seconds.
    pub fn answered(&mut self, now: Msec, ttl: usize, answer: &[SocketAddr]) {
        let answer = &answer[..answer.len().min(MOST)];
        for address in &mut self.list {
            if answer.contains(&address.at) {
                address.leaves_at = None;
            } else {
                address.leaves_at.get_or_insert(now.wrapping_add(LEAVE));
            }
        }
        self.list.retain(|address| !address.has_left(now));
        for &at in answer {
            if self.find(at).is_none() {
                self.list.push(Address::new(at));
            }
        }
        self.asking = None;
        self.fails = false;
        // A second more, as nginx's resolver has the old answer until then.
        self.due = Some(now.wrapping_add(ttl.saturating_add(1).saturating_mul(1000)));
        self.over = self.due;
    }

    /// Takes the answer that there is no such name.
    pub fn answered_none(&mut self, now: Msec) {
        self.list.clear();
        self.failed(now);
        self.fails = false;
    }

    /// Takes note that DNS gave no answer; returns whether it did before. What is too old is dropped.
    pub fn failed(&mut self, now: Msec) -> bool {
        if self.is_outdated(now) {
            self.list.clear();
        }
        self.asking = None;
        self.due = Some(now.wrapping_add(RETRY));
        !std::mem::replace(&mut self.fails, true)
    }

    /// How many addresses there are that DNS names.
    pub fn len(&self) -> usize {
        self.list.iter().filter(|address| address.leaves_at.is_none()).count()
    }

    /// Where a search is to begin: one further each time, so that all addresses get their share.
    pub fn turn(&mut self) -> usize {
        self.turn = self.turn.wrapping_add(1);
        self.turn
    }

    /// The next address in a search that may have a kept connection, and did not fail lately nor in this
    /// request (`tried`). Those that DNS names come first. `step` begins with 0.
    pub fn next_kept(
        &self,
        turn: usize,
        step: &mut usize,
        now: Msec,
        tried: &[SocketAddr],
    ) -> Option<&Address> {
        let n = self.list.len();
        while *step < 2 * n {
            let address = &self.list[(turn % n + *step) % n];
            let leaving = *step >= n;
            *step += 1;
            if leaving == address.leaves_at.is_some()
                && address.kept > 0
                && !address.rests(now)
                && !address.has_left(now)
                && !tried.contains(&address.at)
            {
                return Some(address);
            }
        }
        None
    }

    /// The address for a new connection: one that did not fail lately, nor in this request (`tried`); or one
    /// that met only the first, only the second, or neither.
    pub fn next_new(&self, turn: usize, now: Msec, tried: &[SocketAddr]) -> Option<&Address> {
        let n = self.list.len();
        let named = || {
            let all = (0..n).map(|step| &self.list[(turn % n + step) % n]);
            all.filter(|address| address.leaves_at.is_none())
        };
        let untried = || named().filter(|address| !tried.contains(&address.at));
        untried()
            .find(|address| !address.rests(now))
            // Where a kept connection failed, and no new one.
            .or_else(|| named().find(|address| !address.rests(now)))
            .or_else(|| untried().next())
            .or_else(|| named().next())
    }

    /// A connection to the address is kept.
    pub fn kept(&mut self, at: SocketAddr) {
        if let Some(address) = self.find(at) {
            address.kept += 1;
            address.rests_until = None;
        }
    }

    /// A kept connection to the address was taken.
    pub fn taken(&mut self, at: SocketAddr) {
        if let Some(address) = self.find(at) {
            address.kept = address.kept.saturating_sub(1);
        }
    }

    /// No connection to the address is kept: all were closed.
    pub fn none_kept(&mut self, at: SocketAddr) {
        if let Some(address) = self.find(at) {
            address.kept = 0;
        }
    }

    /// A new connection to the address failed.
    pub fn refused(&mut self, at: SocketAddr, now: Msec) {
        if let Some(address) = self.find(at) {
            address.rests_until = Some(now.wrapping_add(REST));
        }
    }

    fn find(&mut self, at: SocketAddr) -> Option<&mut Address> {
        self.list.iter_mut().find(|address| address.at == at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Close to where times wrap.
    const NOW: Msec = Msec::MAX - 5_000;

    fn later(by: Msec) -> Msec {
        NOW.wrapping_add(by)
    }

    fn at(n: u8) -> SocketAddr {
        SocketAddr::from(([192, 0, 2, n], 443))
    }

    fn known(ttl: usize, numbers: &[u8]) -> Addresses {
        let mut addresses = Addresses::default();
        assert!(addresses.is_to_ask(NOW));
        let answer: Vec<_> = numbers.iter().copied().map(at).collect();
        addresses.answered(NOW, ttl, &answer);
        addresses
    }

    fn kept_ones(
        addresses: &Addresses,
        turn: usize,
        now: Msec,
        tried: &[SocketAddr],
    ) -> Vec<SocketAddr> {
        let mut step = 0;
        std::iter::from_fn(|| addresses.next_kept(turn, &mut step, now, tried).map(|a| a.at))
            .collect()
    }

    #[test]
    fn dns_is_asked_once_and_when_its_time_is_over() {
        let mut addresses = Addresses::default();
        assert!(!addresses.is_usable(NOW));
        assert!(addresses.is_to_ask(NOW));
        assert!(!addresses.is_to_ask(later(1)), "one question at a time");
        addresses.answered(NOW, 5, &[at(1)]);
        assert!(addresses.is_usable(NOW));
        assert!(!addresses.is_to_ask(later(5_999)));
        assert!(addresses.is_to_ask(later(6_000)));
        assert!(addresses.is_usable(later(6_001)), "nobody waits for the answer");
    }

    #[test]
    fn a_ttl_of_nothing_or_of_ages_is_no_trouble() {
        assert!(!known(0, &[1]).is_to_ask(later(999)));
        assert!(known(0, &[1]).is_to_ask(later(1_000)));
        assert!(known(usize::MAX, &[1]).len() == 1);
    }

    #[test]
    fn an_old_answer_is_used_only_while_dns_fails() {
        let mut addresses = known(0, &[1]);
        assert!(addresses.is_usable(later(60_999)));
        let idle = later(61_000);
        assert!(!addresses.is_usable(idle), "nginx resolves it once");
        assert!(addresses.is_to_ask(idle));
        assert!(!addresses.is_usable(idle));
        assert!(addresses.is_usable(idle.wrapping_add(2_000)), "a silent server is one that fails");
        assert!(addresses.failed(idle.wrapping_add(3_000)), "the first failure");
        assert!(addresses.is_usable(idle.wrapping_add(3_000)));
        assert!(!addresses.is_to_ask(idle.wrapping_add(3_999)));
        assert!(addresses.is_to_ask(idle.wrapping_add(4_000)));
        assert!(!addresses.failed(idle.wrapping_add(4_000)), "known to fail");
        addresses.answered(idle.wrapping_add(5_000), 5, &[at(1)]);
        assert!(addresses.failed(idle.wrapping_add(6_000)), "failed anew");
    }

    #[test]
    fn an_outage_of_dns_is_outlived_for_an_hour() {
        let mut addresses = known(5, &[1, 2]);
        let over = later(6_000);
        for after in (0..3_600_000).step_by(1_000) {
            let now = over.wrapping_add(after);
            assert!(addresses.is_to_ask(now));
            addresses.failed(now);
            assert!(addresses.is_usable(now));
        }
        let end = over.wrapping_add(3_600_000);
        assert!(addresses.is_usable(end.wrapping_sub(1)));
        assert!(!addresses.is_usable(end));
        assert!(addresses.is_to_ask(end), "DNS is asked as before");
        addresses.failed(end);
        assert_eq!(addresses.len(), 0);
        assert!(
            !addresses.is_usable(end.wrapping_add(Msec::MAX / 2)),
            "nor when times have wrapped"
        );
        addresses.answered(end, 5, &[at(1)]);
        assert!(addresses.is_usable(end));
    }

    #[test]
    fn dns_fails_when_nobody_asked_for_an_hour() {
        let mut addresses = known(0, &[1]);
        let idle = later(1_000 + 3_600_000);
        assert!(addresses.is_to_ask(idle));
        assert!(!addresses.is_usable(idle.wrapping_add(2_000)), "a silent server changes nothing");
        addresses.failed(idle.wrapping_add(3_000));
        assert!(!addresses.is_usable(idle.wrapping_add(3_000)));
    }

    #[test]
    fn no_such_name_drops_all() {
        let mut addresses = known(5, &[1, 2]);
        addresses.kept(at(1));
        addresses.answered_none(later(6_000));
        assert_eq!(addresses.len(), 0);
        assert!(!addresses.is_usable(later(6_000)));
        assert!(addresses.next_new(0, later(6_000), &[]).is_none());
        assert!(addresses.is_to_ask(later(7_000)));
    }

    #[test]
    fn kept_connections_are_found_and_counted() {
        let mut addresses = known(5, &[1, 2, 3]);
        assert!(kept_ones(&addresses, 0, NOW, &[]).is_empty());
        addresses.kept(at(2));
        addresses.kept(at(3));
        addresses.kept(at(3));
        assert_eq!(kept_ones(&addresses, 0, NOW, &[]), [at(2), at(3)]);
        assert_eq!(kept_ones(&addresses, 2, NOW, &[]), [at(3), at(2)], "in turn");
        assert_eq!(kept_ones(&addresses, 0, NOW, &[at(3)]), [at(2)]);
        addresses.taken(at(2));
        addresses.taken(at(2));
        assert_eq!(kept_ones(&addresses, 0, NOW, &[]), [at(3)]);
        addresses.none_kept(at(3));
        assert!(kept_ones(&addresses, 0, NOW, &[]).is_empty());
        addresses.kept(at(9));
        assert!(kept_ones(&addresses, 0, NOW, &[]).is_empty(), "an address that is not known");
    }

    #[test]
    fn an_address_that_left_keeps_its_connections_for_a_while() {
        let mut addresses = known(0, &[1, 2]);
        addresses.kept(at(1));
        addresses.answered(later(1_000), 0, &[at(2), at(3)]);
        addresses.kept(at(3));
        assert_eq!(kept_ones(&addresses, 0, later(1_000), &[]), [at(3), at(1)], "named ones first");
        assert_eq!(addresses.len(), 2);
        for turn in 0..4 {
            let next = addresses.next_new(turn, later(1_000), &[]).unwrap().at;
            assert_ne!(next, at(1), "no new connection");
        }
        addresses.answered(later(9_000), 0, &[at(2)]);
        assert_eq!(kept_ones(&addresses, 0, later(15_999), &[]), [at(1), at(3)]);
        assert_eq!(kept_ones(&addresses, 0, later(16_000), &[]), [at(3)]);
        addresses.answered(later(16_000), 0, &[at(1), at(2)]);
        assert_eq!(kept_ones(&addresses, 0, later(16_000), &[]), [at(1), at(3)], "it is back");
        addresses.answered(later(16_000), 0, &[at(2)]);
        addresses.answered(later(40_000), 0, &[at(2)]);
        assert_eq!(addresses.list.len(), 1, "forgotten");
    }

    #[test]
    fn new_connections_go_round_and_past_what_failed() {
        let mut addresses = known(5, &[1, 2, 3]);
        let next = |addresses: &Addresses, turn, now, tried: &[SocketAddr]| {
            addresses.next_new(turn, now, tried).unwrap().at
        };
        let turns: Vec<_> = (0..4).map(|turn| next(&addresses, turn, NOW, &[])).collect();
        assert_eq!(turns, [at(1), at(2), at(3), at(1)]);
        addresses.refused(at(1), NOW);
        assert_eq!(next(&addresses, 0, later(9_999), &[]), at(2));
        assert_eq!(next(&addresses, 0, later(10_000), &[]), at(1), "it has rested");
        let stale = next(&addresses, 0, NOW, &[at(2), at(3)]);
        assert_eq!(stale, at(2), "kept connections failed there, which says little");
        addresses.refused(at(2), NOW);
        addresses.refused(at(3), NOW);
        assert_eq!(next(&addresses, 1, NOW, &[]), at(2), "all rest: better one than none");
        assert_eq!(next(&addresses, 1, NOW, &[at(2)]), at(3));
        assert_eq!(next(&addresses, 1, NOW, &[at(1), at(2), at(3)]), at(2));
        addresses.kept(at(3));
        assert_eq!(next(&addresses, 0, NOW, &[]), at(3), "it answers again");
    }

    #[test]
    fn an_answer_is_used_as_far_as_is_sensible() {
        let mut addresses = Addresses::default();
        let many: Vec<_> = (0..1_000u16).map(|n| SocketAddr::from(([127, 0, 0, 1], n))).collect();
        for _ in 0..3 {
            addresses.answered(NOW, 5, &many);
            addresses.answered(NOW, 5, &[many[0], many[0]]);
        }
        assert_eq!(addresses.len(), 1);
        assert_eq!(addresses.list.len(), MOST);
        assert_eq!(
            Addresses::fixed(at(1)).next_new(7, NOW, &[]).unwrap().text.as_ref(),
            "192.0.2.1:443"
        );
    }

    #[test]
    fn turns_go_on() {
        let mut addresses = known(5, &[1]);
        assert_ne!(addresses.turn(), addresses.turn());
        addresses.turn = usize::MAX;
        assert_eq!(addresses.turn(), 0);
    }
}

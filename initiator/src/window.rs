//! How many commands of a queue may be out at a time.

/// The window of a queue. A target whose task set is full (SAM-5, 5.3.1) gets half as many commands at a time, and then
/// one more for every round of them that goes well, up to the queue's depth.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Window {
    depth: usize,
    limit: usize,
    out: usize,
    /// Commands that were out when the limit fell last: they tell nothing of the new one.
    old: usize,
    /// Commands that have ended well since the limit changed.
    good: usize,
}

impl Window {
    pub(crate) const fn new(depth: usize) -> Self {
        Self { depth, limit: depth, out: 0, old: 0, good: 0 }
    }

    /// Whether another command may go out.
    pub(crate) const fn is_open(&self) -> bool {
        self.out < self.limit
    }

    /// Commands that are out.
    pub(crate) const fn out(&self) -> usize {
        self.out
    }

    pub(crate) const fn sent(&mut self) {
        self.out += 1;
    }

    /// A command has ended.
    pub(crate) fn ended(&mut self, is_task_set_full: bool) {
        self.out -= 1;
        let is_old = self.old > 0;
        self.old = self.old.saturating_sub(1);
        if is_task_set_full && !is_old {
            self.limit = (self.out.div_ceil(2)).max(1);
            (self.old, self.good) = (self.out, 0);
        } else if !is_task_set_full {
            self.good += 1;
            if self.good >= self.limit && self.limit < self.depth {
                (self.limit, self.good) = (self.limit + 1, 0);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A target with room for `room` commands, and a queue that always has more.
    fn run(window: &mut Window, room: usize, commands: usize) -> (usize, usize) {
        let (mut full, mut most) = (0, 0);
        for _ in 0..commands {
            while window.is_open() {
                window.sent();
            }
            most = most.max(window.out);
            let is_full = window.out > room;
            full += usize::from(is_full);
            window.ended(is_full);
        }
        (full, most)
    }

    #[test]
    fn it_finds_what_the_target_can_take_and_climbs_again() {
        let mut window = Window::new(32);
        run(&mut window, 10, 1000);
        let (full, most) = run(&mut window, 10, 1000);
        assert!(full <= 100 && most >= 8, "{full} of 1000 refused, {most} out at most");
        let (full, most) = run(&mut window, 32, 1000);
        assert_eq!((full, most), (0, 32));
    }

    #[test]
    fn one_command_may_always_go_out() {
        let mut window = Window::new(4);
        let (full, most) = run(&mut window, 0, 100);
        assert_eq!((full, most), (100, 4));
        assert_eq!(window.limit, 1);
    }

    #[test]
    fn many_refusals_at_once_are_one() {
        let mut window = Window::new(32);
        (0..32).for_each(|_| window.sent());
        (0..32).for_each(|_| window.ended(true));
        assert_eq!(window.limit, 16);
    }
}

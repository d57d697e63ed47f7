//! Bars and spinners for what takes longer than a second: on standard error, and only on a terminal.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Nothing is shown for what is done sooner.
const PATIENCE: Duration = Duration::from_secs(1);
const TICK: Duration = Duration::from_millis(120);

/// Something that is going on.
#[derive(Debug)]
pub(crate) struct Progress {
    bar: ProgressBar,
    started_ns: u64,
    shown: AtomicBool,
}

impl Progress {
    /// Of something whose end is not known.
    pub(crate) fn counting(what: &str) -> Self {
        Self::new(ProgressBar::no_length(), what, "{spinner} {msg}: {human_pos}")
    }

    /// Of so many steps.
    pub(crate) fn of(what: &str, steps: u64) -> Self {
        Self::new(ProgressBar::new(steps), what, "{spinner} {msg} [{bar:30}] {human_pos}/{human_len}")
    }

    fn new(bar: ProgressBar, what: &str, template: &str) -> Self {
        bar.set_draw_target(ProgressDrawTarget::hidden());
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style.progress_chars("=> "));
        }
        bar.set_message(what.to_owned());
        Self { bar, started_ns: crate::ambient::boot_ns(), shown: AtomicBool::new(false) }
    }

    /// So many steps are done in all.
    pub(crate) fn at(&self, done: u64) {
        self.bar.set_position(done);
        self.show_when_slow();
    }

    /// So many of so many steps are done; 0 of them means that their number is not known.
    pub(crate) fn of_at(&self, done: u64, all: u64) {
        self.bar.set_length(all.max(done));
        self.at(done);
    }

    /// Shows itself at once: for one long step in which nothing can be counted.
    pub(crate) fn show(&self) {
        if !self.shown.swap(true, Ordering::Relaxed) {
            self.bar.set_draw_target(ProgressDrawTarget::stderr());
            self.bar.enable_steady_tick(TICK);
        }
    }

    fn show_when_slow(&self) {
        let waited = crate::ambient::boot_ns().saturating_sub(self.started_ns);
        if Duration::from_nanos(waited) >= PATIENCE {
            self.show();
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

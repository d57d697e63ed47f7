//! What every backend must do, one sentence a case. A backend names itself and runs them all:
//!
//! ```ignore
//! store_contract!(sqlite, SqliteBackend::there);
//! ```

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::missing_panics_doc,
    reason = "these are tests, though other crates' tests can call them"
)]

pub mod bookkeeping;
pub mod commits;
pub mod expectations;
pub mod feed;
pub mod fixture;
pub mod lists;
pub mod restart;

use std::sync::Arc;

use async_trait::async_trait;

use crate::Store;

/// A backend with data of its own, made empty but for an installation: no nouns, the root digest
/// [`fixture::ROOT_DIGEST`], one key in the keyring.
#[async_trait]
pub trait Backend: Send + Sync {
    /// Opens the data, the second time as the first left it. The store opened before has been dropped.
    async fn open(&self) -> Arc<dyn Store>;
}

/// Runs every case, or the listed ones, on a backend: `store_contract!(name, constructor)`. Where there is no
/// such backend, the constructor says so loudly and gives `None`.
#[macro_export]
macro_rules! store_contract {
    ($name:ident, $constructor:expr) => {
        $crate::store_contract!(@ $name, $constructor,
            bookkeeping [
                a_quota_never_gives_more_than_its_max,
                quotas_of_two_periods_and_two_subjects_are_apart,
                units_given_back_can_be_taken_again,
                uses_are_kept_and_the_newest_counts,
                the_installation_changes_whole_or_not_at_all,
                a_sweep_drops_what_has_run_out_and_nothing_else,
            ]
            commits [
                a_commit_shows_in_the_rows_in_the_audit_and_in_the_feed,
                a_commit_with_one_bad_change_leaves_nothing_behind,
                numbers_count_per_organization_and_are_never_reused,
                a_number_given_by_the_caller_is_kept,
                revisions_are_gapless_and_in_commit_order_under_many_writers,
                a_commit_without_changes_takes_no_revision_and_leaves_an_entry,
                the_order_of_changes_does_not_matter,
                a_dropped_secret_is_gone_and_a_kept_one_keeps_its_material,
                a_repeated_call_is_told_what_it_was_answered,
                a_refused_commit_is_not_remembered,
                a_wrapped_key_comes_with_its_commit_and_is_never_overwritten,
                a_purged_key_is_gone_with_its_secrets,
            ]
            expectations [
                another_version_is_a_conflict,
                what_should_be_absent_must_be,
                another_key_of_an_owner_is_a_conflict,
                what_is_referred_to_cannot_go,
                what_is_referred_to_must_be_there,
                another_root_key_is_found,
                what_is_taken_cannot_be_taken_again,
            ]
            feed [
                the_feed_resumes_after_what_was_seen,
                a_feed_that_was_cut_is_a_gap,
                hints_come_in_commit_order,
                a_snapshot_is_the_replay_of_the_feed,
                a_secret_let_go_since_comes_without_material,
            ]
            lists [
                each_lookup_finds_its_noun,
                several_nouns_are_read_in_the_order_asked_for,
                each_filter_of_keys_lets_through_what_it_says,
                each_state_is_listed_at_its_moment,
                each_standing_is_listed_at_its_moment,
                keys_are_found_by_a_part_of_their_name_and_by_the_kind_of_their_owner,
                numbered_pages_are_counted_and_skip_what_is_before_them,
                pages_are_stable_while_keys_are_made,
                other_nouns_are_listed_oldest_first,
                the_audit_is_listed_newest_first_and_filtered,
                a_whole_audit_verifies,
            ]
            ; restart [
                a_restart_keeps_everything,
                a_restart_goes_on_with_revisions_and_numbers,
            ]
        );
    };
    (@ $name:ident, $constructor:expr, $($module:ident [$($case:ident,)*])* ; $again:ident [$($reopened:ident,)*]) => {
        mod $name {
            use super::*;
            $($(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $case() {
                    let Some(backend) = $constructor() else { return };
                    $crate::contract::$module::$case($crate::contract::Backend::open(&backend).await).await;
                }
            )*)*
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $reopened() {
                    let Some(backend) = $constructor() else { return };
                    $crate::contract::$again::$reopened(&backend).await;
                }
            )*
        }
    };
}

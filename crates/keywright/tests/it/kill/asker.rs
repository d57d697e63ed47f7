//! Spending a quota, and counting what was bought, admitted and lost.

use serde_json::{Value, json};

use crate::api::{Api, text};

/// A key with a quota, and what was spent of it.
pub(super) struct Asker {
    secret: String,
    max: u64,
    /// What a kill may lose: one block of it, by the documentation of `verifier::quota`.
    block: u64,
    /// Answered with `allowed`.
    admitted: u64,
    /// Asked and never answered: admitted or not.
    unanswered: u64,
    kills: u64,
    exhausted: bool,
}

impl Asker {
    /// More than is ever spent, in large blocks.
    pub(super) async fn large(api: &Api) -> Self {
        Self::new(api, 1_000_000, 1_000).await
    }

    /// Used up in a few lives.
    pub(super) async fn small(api: &Api) -> Self {
        Self::new(api, 40, 1).await
    }

    async fn new(api: &Api, max: u64, block: u64) -> Self {
        let quota = json!({"name": "quota", "quota": {"max": max, "period": "none"}});
        let made = api.post("/v1/keys", quota).await.expect(201);
        let secret = text(&made["secret"]);
        Self { secret, max, block, admitted: 0, unanswered: 0, kills: 0, exhausted: false }
    }

    pub(super) const fn is_exhausted(&self) -> bool {
        self.exhausted
    }

    /// Asks until the server is gone.
    pub(super) async fn work(&mut self, api: &Api) {
        // One that is used up is asked after each kill only.
        while !self.exhausted && self.ask(api).await.is_some() {}
    }

    async fn ask(&mut self, api: &Api) -> Option<Value> {
        let question = json!({"secret": self.secret});
        let Ok(reply) = api.call("POST", "/v1/verify", Some(&question), &[]).await else {
            self.unanswered += 1;
            return None;
        };
        let answer = reply.expect(200);
        match answer["code"].as_str() {
            Some("allowed") => {
                assert!(!self.exhausted, "a quota that was used up admits again: {answer}");
                self.admitted += 1;
            }
            Some("quota_exceeded") => self.exhausted = true,
            _ => panic!("{answer}"),
        }
        assert!(self.admitted <= self.max, "{} admitted of {}", self.admitted, self.max);
        Some(answer)
    }

    /// After a kill: nothing is forgotten that was spent, and no more than a block for each kill is lost.
    pub(super) async fn killed(&mut self, api: &Api) {
        self.kills += 1;
        let answer = self.ask(api).await.expect("the server was started again");
        let remaining = answer["quota"]["remaining"].as_u64().unwrap_or_else(|| panic!("{answer}"));
        let gone = self.max - remaining;
        let at_most = self.admitted + self.unanswered + self.kills * self.block;
        assert!(gone >= self.admitted.min(self.max), "{} were admitted, {gone} are gone", self.admitted);
        assert!(gone <= at_most, "{gone} are gone, and there was reason for {at_most}");
        if self.exhausted {
            assert_eq!(remaining, 0, "{answer}");
        }
    }
}

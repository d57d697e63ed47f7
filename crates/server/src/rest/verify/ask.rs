//! Asking the verifier, and asking again after what it could not decide from memory was resolved.

use std::net::IpAddr;
use std::time::Duration;

use keywright_model::denial::Denial;
use keywright_model::id::KeyspaceId;
use keywright_model::signing::{self, SignatureError};
use keywright_verifier::{
    Asked as Keyspaces, Check, Credential, Decided, Deferred, FoundKey, Request, SignatureDenial, Verdict,
    WeakSecret,
};

use super::question::{Presented, Question};
use super::{Asker, VerifyState, not_current};
use crate::gateway::readings::Meant;
use crate::rest::problem::{NOT_IN_MEMORY, Problem, STORE_UNAVAILABLE, TOO_MANY_REQUESTS};
use crate::throttle::Failures;

/// How often something is resolved for one question: a weak secret, then a block of each of a few quotas.
const RESOLVED_MAX: usize = 3;
/// How often to look whether somebody else has fetched a block, and how long to wait between.
const WAITED_MAX: usize = 100;
const WAIT: Duration = Duration::from_millis(5);
/// How long one question may be resolved at all.
const RESOLVE_TIMEOUT: Duration = Duration::from_secs(2);

/// Wrong guesses of weak secrets: for each access id and the address that it was presented from.
pub(crate) type Guesses = Failures<(String, Option<IpAddr>)>;

/// One way to ask a question: where, for what, and at what cost.
#[derive(Clone, Copy)]
struct Attempt<'a> {
    keyspaces: Keyspaces<'a>,
    checks: &'a [Check<'a>],
    cost: u64,
}

impl<'a> Attempt<'a> {
    fn request(&self, question: &Question<'_>) -> Request<'a> {
        Request { keyspaces: self.keyspaces, checks: self.checks, ip: question.ip, cost: self.cost }
    }
}

/// The one keyspace that is asked about, by identifier or name. What the asker does not reach stays left out.
fn only<'a>(asker: &'a Asker, named: &'a str) -> Keyspaces<'a> {
    match named.parse::<KeyspaceId>() {
        Ok(id) => asker.keyspaces().only(id),
        Err(_) => asker.keyspaces().only_named(named),
    }
}

impl VerifyState {
    /// Answers a question.
    pub(crate) async fn ask(&self, asker: &Asker, question: &Question<'_>) -> Result<Verdict, Problem> {
        let keyspaces = match question.keyspace {
            None => asker.keyspaces(),
            Some(named) => only(asker, named),
        };
        self.ask_within(keyspaces, question).await
    }

    /// Answers a question about keys of these keyspaces.
    pub(crate) async fn ask_within(
        &self,
        keyspaces: Keyspaces<'_>,
        question: &Question<'_>,
    ) -> Result<Verdict, Problem> {
        let Some(readings) = &question.readings else {
            let attempt = Attempt { keyspaces, checks: question.checks.as_slice(), cost: question.cost };
            return self.ask_in(question, attempt).await;
        };
        let plain = [readings.plain.check()];
        let attempt = Attempt { keyspaces, checks: &plain, cost: question.cost };
        // Invariant: a vendor's reading opens nothing that the plain one forbids, since the caller chose the header.
        if readings.vendors.is_empty() || !self.is_silent(question, attempt).await? {
            return self.ask_in(question, attempt).await;
        }
        let meant: Vec<Check<'_>> = readings.vendors.iter().map(Meant::check).collect();
        self.ask_in(question, Attempt { checks: &meant, ..attempt }).await
    }

    /// Whether nothing allows a thing and nothing denies it.
    async fn is_silent(&self, question: &Question<'_>, attempt: Attempt<'_>) -> Result<bool, Problem> {
        let probe = self.ask_in(question, Attempt { cost: 0, ..attempt }).await?;
        let [check] = attempt.checks else { return Ok(false) };
        Ok(probe.denial == Some(Denial::InsufficientPermission)
            && probe.key.is_some_and(|key| !key.is_denied(check)))
    }

    /// The key that a credential belongs to, whatever may be wrong with it. Counts as no use of it.
    pub(crate) async fn whose(
        &self,
        keyspaces: Keyspaces<'_>,
        question: &Question<'_>,
    ) -> Result<Option<FoundKey>, Problem> {
        // No grant covers an action without a name.
        let nothing = [Check { action: "", resource: "" }];
        Ok(self.ask_in(question, Attempt { keyspaces, checks: &nothing, cost: 0 }).await?.key)
    }

    async fn ask_in(&self, question: &Question<'_>, attempt: Attempt<'_>) -> Result<Verdict, Problem> {
        if self.0.node.is_some() && !matches!(question.presented, Presented::Secret(_)) {
            return Err(Problem::new(NOT_IN_MEMORY));
        }
        match self.ask_once(question, attempt)? {
            Asking::Answered(verdict) => Ok(verdict),
            Asking::Deferred(_) if self.0.node.is_some() => Err(Problem::new(NOT_IN_MEMORY)),
            Asking::Deferred(deferred) => {
                let resolved = self.ask_again(question, attempt, deferred);
                let late = |_| {
                    Problem::new(STORE_UNAVAILABLE)
                        .detail("what is not in memory took too long")
                        .retry_after(1)
                };
                tokio::time::timeout(RESOLVE_TIMEOUT, resolved).await.map_err(late)?
            }
        }
    }

    async fn ask_again(
        &self,
        question: &Question<'_>,
        attempt: Attempt<'_>,
        mut deferred: Deferred,
    ) -> Result<Verdict, Problem> {
        let (mut resolved, mut waited) = (0, 0);
        while resolved < RESOLVED_MAX && waited < WAITED_MAX {
            match &deferred {
                Deferred::WeakSecret(asked) => {
                    if !self.prove(asked, question).await? {
                        return self.unproven(question, attempt);
                    }
                    resolved += 1;
                }
                Deferred::QuotaBlock(block) if block.lead => {
                    self.0.resolver.reserve(block).await?;
                    resolved += 1;
                }
                Deferred::QuotaBlock(_) => {
                    tokio::time::sleep(WAIT).await;
                    waited += 1;
                }
                // Others may spend what came before this call asks again, so that it may take several rounds.
                Deferred::Allowances(needs) => {
                    self.0.resolver.allow(needs).await?;
                    waited += 1;
                }
            }
            match self.ask_once(question, attempt)? {
                Asking::Answered(verdict) => return Ok(verdict),
                Asking::Deferred(again) => deferred = again,
            }
        }
        Err(Problem::new(STORE_UNAVAILABLE).detail("what is not in memory could not be had").retry_after(1))
    }

    /// Asks from memory.
    fn ask_once(&self, question: &Question<'_>, attempt: Attempt<'_>) -> Result<Asking, Problem> {
        let request = attempt.request(question);
        let ask = |credential: &Credential<'_>| self.0.verifier.verify(credential, &request, self.now());
        let decided = match &question.presented {
            Presented::Secret(secret) => ask(&Credential::Bearer(secret)),
            Presented::Pair { access_id, secret } => ask(&Credential::Custom { access_id, secret }),
            Presented::Signed(signed) => {
                let request = signed.request();
                let now = self.0.common.clock.now().unix_seconds();
                match signing::parse(&request) {
                    Ok(parsed) => ask(&Credential::Signed {
                        access_id: parsed.access_id(),
                        check: &|secret| parsed.check(&request, secret, now).map_err(signature_denial),
                    }),
                    // What cannot be read was not signed by anybody; no access id is empty.
                    Err(_) => {
                        ask(&Credential::Signed { access_id: "", check: &|_| Err(SignatureDenial::Invalid) })
                    }
                }
            }
        };
        answered(decided)
    }

    async fn prove(&self, asked: &WeakSecret, question: &Question<'_>) -> Result<bool, Problem> {
        let Presented::Pair { access_id, secret } = question.presented else { return Ok(false) };
        let who = (access_id.to_owned(), question.ip);
        let boot_ns = || self.0.common.clock.boot_ns();
        if let Some(seconds) = self.0.guesses.wait_seconds(&who, boot_ns()) {
            return Err(Problem::new(TOO_MANY_REQUESTS)
                .detail("too many wrong secrets for this access_id")
                .retry_after(seconds));
        }
        let proven = self.0.resolver.prove(asked, secret).await?;
        if !proven {
            self.0.guesses.failed(who, boot_ns());
        }
        Ok(proven)
    }

    fn unproven(&self, question: &Question<'_>, attempt: Attempt<'_>) -> Result<Verdict, Problem> {
        match answered(self.0.verifier.unproven(&attempt.request(question), self.now()))? {
            Asking::Answered(verdict) => Ok(verdict),
            Asking::Deferred(_) => Err(not_current(None)),
        }
    }
}

/// What asking came to, when the node may answer at all.
#[expect(clippy::large_enum_variant, reason = "the large one is the usual one, and a box would allocate")]
enum Asking {
    Answered(Verdict),
    Deferred(Deferred),
}

fn answered(decided: Decided) -> Result<Asking, Problem> {
    match decided {
        Decided::Verdict(verdict) => Ok(Asking::Answered(verdict)),
        Decided::Deferred(deferred) => Ok(Asking::Deferred(deferred)),
        Decided::NotCurrent { age_ms } => Err(not_current(Some(age_ms))),
    }
}

fn signature_denial(error: SignatureError) -> SignatureDenial {
    if error == SignatureError::Expired { SignatureDenial::Expired } else { SignatureDenial::Invalid }
}

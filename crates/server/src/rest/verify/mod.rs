//! `POST /v1/verify` and `/v1/verify/batch` (api.md §4): answered from memory.
//!
//! What the handlers hold cannot reach the database, but for one [`Resolver`], which is asked for what memory cannot
//! decide.

mod answer;
mod ask;
mod authenticate;
mod node;
mod question;
mod resolver;
mod root;

use std::sync::Arc;
use std::time::Duration;

use axum::response::Response;
use http::HeaderValue;
use http::header::CONTENT_TYPE;
use keywright_model::denial::Denial;
use keywright_model::revision::{Incarnation, RevisionToken};
use keywright_verifier::{Now, Verdict, Verifier};

use self::answer::{Answer, Counted};
use self::question::Document;
use super::call::Asked;
use super::headers::{KEYWRIGHT_AT_LEAST, text};
use super::problem::{INTERNAL, NOT_IN_MEMORY, Problem, REVISION_NOT_APPLIED, VERIFIER_NOT_CURRENT};
use crate::state::Common;

pub(crate) use answer::detail;
pub use authenticate::Asker;
use node::Nowhere;
pub use node::{Node, NodeAway, Passed, Passing, Questions};
pub(crate) use question::{Checks, Presented, Question, Signed};
pub use resolver::{ControlResolver, Figure, Limiter, Resolver};
pub use root::RootKey;

/// What an answer is given room for; few are longer.
const BODY_BYTES: usize = 512;
/// How long a node may take to catch up with a revision that a client names.
const CATCH_UP: Duration = Duration::from_millis(50);
/// How often it looks meanwhile.
const CATCH_UP_STEP: Duration = Duration::from_millis(2);

/// What verifying works with. Cheap to clone.
#[derive(Clone, Debug)]
pub struct VerifyState(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    verifier: Arc<Verifier>,
    resolver: Arc<dyn Resolver>,
    root: RootKey,
    common: Arc<Common>,
    orgs: authenticate::NamedOrgs,
    guesses: ask::Guesses,
    /// Who decides what memory cannot, where this is a follower.
    node: Option<Arc<dyn Node>>,
}

/// A call that asks about credentials.
#[derive(Debug)]
pub struct VerifyCall {
    asked: Asked,
    state: VerifyState,
    asker: Asker,
}

impl VerifyState {
    /// Puts the parts together.
    pub fn new(verifier: Arc<Verifier>, resolver: Arc<dyn Resolver>, common: Arc<Common>) -> Self {
        Self::with(verifier, resolver, common, None)
    }

    /// The same for a follower: what its memory cannot decide, the node is asked.
    pub fn following(verifier: Arc<Verifier>, node: Arc<dyn Node>, common: Arc<Common>) -> Self {
        let state = Self::with(verifier, Arc::new(Nowhere), common, Some(node));
        // The root key is the installation's alone.
        state.0.root.set(None);
        state
    }

    fn with(
        verifier: Arc<Verifier>,
        resolver: Arc<dyn Resolver>,
        common: Arc<Common>,
        node: Option<Arc<dyn Node>>,
    ) -> Self {
        let root = RootKey::default();
        let (orgs, guesses) = (authenticate::NamedOrgs::default(), ask::Guesses::default());
        Self(Arc::new(Shared { verifier, resolver, root, common, orgs, guesses, node }))
    }

    /// What needs no database.
    pub(crate) fn common(&self) -> &Common {
        &self.0.common
    }

    /// This node's index.
    pub fn verifier(&self) -> &Arc<Verifier> {
        &self.0.verifier
    }

    /// The root key's digest in memory.
    pub fn root_key(&self) -> &RootKey {
        &self.0.root
    }

    /// A call that was read.
    pub fn call(&self, call: Asked, asker: Asker) -> VerifyCall {
        VerifyCall { asked: call, state: self.clone(), asker }
    }

    /// How far the index has come, how large it is, and what has been done for limits that nodes share.
    pub fn figures(&self) -> Vec<Figure> {
        let size = self.0.verifier.size();
        let number = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
        let mut figures = vec![
            ("revision", "The newest revision that answers are by", self.0.verifier.revision().0),
            ("index_secrets", "Secrets in the index", number(size.secrets)),
            ("index_bytes", "Bytes of the index", number(size.bytes)),
        ];
        figures.extend(self.0.resolver.figures());
        figures
    }

    fn now(&self) -> Now {
        let clock = &self.0.common.clock;
        Now { wall: clock.now(), boot_ns: clock.boot_ns() }
    }

    fn incarnation(&self) -> Incarnation {
        self.0.verifier.position().map_or(Incarnation(0), |at| at.incarnation)
    }

    /// Waits a moment for a revision that the client has seen.
    async fn catch_up(&self, headers: &http::HeaderMap) -> Result<(), Problem> {
        let Some(wanted) = text(headers, &KEYWRIGHT_AT_LEAST, "Keywright-At-Least")? else { return Ok(()) };
        let wanted: RevisionToken =
            wanted.parse().map_err(|error: keywright_model::revision::RevisionTokenError| {
                Problem::header_fault("Keywright-At-Least", "invalid_revision", error.to_string())
            })?;
        let applied = || {
            let at = self.0.verifier.position();
            at.is_some_and(|at| at.incarnation == wanted.incarnation && at.revision >= wanted.revision)
        };
        let applying = async {
            while !applied() {
                tokio::time::sleep(CATCH_UP_STEP).await;
            }
        };
        let late =
            |_| Problem::new(REVISION_NOT_APPLIED).detail("ask again, or ask another node").retry_after(1);
        if applied() { Ok(()) } else { tokio::time::timeout(CATCH_UP, applying).await.map_err(late) }
    }
}

/// Answers one question.
pub async fn one(call: VerifyCall) -> Result<Response, Problem> {
    let answered = answer_one(&call).await;
    call.or_pass_on(Questions::One, answered).await
}

/// Answers each question of a list, in its order.
pub async fn batch(call: VerifyCall) -> Result<Response, Problem> {
    let answered = answer_batch(&call).await;
    call.or_pass_on(Questions::Batch, answered).await
}

impl VerifyCall {
    /// Has the node answer in a follower's place what memory could not decide: all of the call, so that its questions are
    /// answered by one state.
    async fn or_pass_on(
        &self,
        questions: Questions,
        answered: Result<Response, Problem>,
    ) -> Result<Response, Problem> {
        match (answered, &self.state.0.node) {
            (Err(problem), Some(node)) if problem.is(NOT_IN_MEMORY) => {
                node::pass_on(&**node, questions, &self.asked).await
            }
            (answered, _) => answered,
        }
    }
}

async fn answer_one(call: &VerifyCall) -> Result<Response, Problem> {
    let VerifyCall { asked, state, asker } = call;
    state.catch_up(&asked.headers).await?;
    let mut document = Document::default();
    let question = question::one(&asked.body, &mut document)?;
    let verdict = state.ask(asker, &question).await?;
    still_holds(state, std::slice::from_ref(&verdict))?;
    let mut body = Vec::with_capacity(BODY_BYTES);
    state.answer(&question, &verdict).write(&mut body).map_err(unwritten)?;
    Ok(respond(body))
}

async fn answer_batch(call: &VerifyCall) -> Result<Response, Problem> {
    let VerifyCall { asked, state, asker } = call;
    state.catch_up(&asked.headers).await?;
    let mut document = Document::default();
    let questions = question::many(&asked.body, &mut document)?;
    let mut verdicts = Vec::with_capacity(questions.len());
    for question in &questions {
        verdicts.push(state.ask(asker, question).await?);
    }
    still_holds(state, &verdicts)?;
    let mut body = Vec::with_capacity(questions.len().saturating_mul(BODY_BYTES) + 2);
    body.push(b'[');
    for (question, verdict) in questions.iter().zip(&verdicts) {
        if body.len() > 1 {
            body.push(b',');
        }
        state.answer(question, verdict).write(&mut body).map_err(unwritten)?;
    }
    body.push(b']');
    Ok(respond(body))
}

impl VerifyState {
    /// Counts an answer that is given elsewhere, if this node may still give it.
    pub(crate) fn settle(&self, verdict: &Verdict) -> Result<(), Problem> {
        self.0.common.metrics.verified(verdict.denial.map_or("allowed", Denial::code));
        still_holds(self, std::slice::from_ref(verdict))
    }

    /// Counts a refusal that needed no key.
    pub(crate) fn refuse(&self, denial: Denial, say: impl FnOnce(Denial) -> Problem) -> Problem {
        self.0.common.metrics.verified(denial.code());
        say(denial)
    }

    fn answer<'a>(&self, question: &'a Question<'_>, verdict: &'a Verdict) -> Answer<'a> {
        let counted = if self.0.node.is_some() { Counted::Alone } else { Counted::AsItSays };
        let answer = Answer::new(verdict, question.failed(verdict), self.incarnation(), counted);
        self.0.common.metrics.verified(answer.code());
        answer
    }
}

/// The clock is read once more after all was decided: an answer must not outlive the node's right to give it.
fn still_holds(state: &VerifyState, verdicts: &[Verdict]) -> Result<(), Problem> {
    // Invariant: the clock is read last, and compared with the deadline that each verification read first.
    let boot_ns = state.0.common.clock.boot_ns();
    if verdicts.iter().all(|verdict| verdict.holds_at(boot_ns)) { Ok(()) } else { Err(not_current(None)) }
}

fn not_current(age_ms: Option<u64>) -> Problem {
    let problem = Problem::new(VERIFIER_NOT_CURRENT).retry_after(1);
    match age_ms {
        Some(age) => problem.extension("age_ms", age.into()),
        None => problem,
    }
}

#[expect(clippy::needless_pass_by_value, reason = "what `map_err` calls")]
fn unwritten(error: std::io::Error) -> Problem {
    tracing::error!(%error, "an answer could not be written as JSON");
    Problem::new(INTERNAL)
}

fn respond(body: Vec<u8>) -> Response {
    let mut response = Response::new(body.into());
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

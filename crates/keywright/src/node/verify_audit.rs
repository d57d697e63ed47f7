//! `keywright audit verify`: whether the database is what Keywright wrote. Beside a running server.

use keywright_store::audit::AuditReport;
use serde_json::json;

use super::data::{Data, Reading};
use super::door;
use crate::commands::{Outcome, Session};
use crate::progress::Progress;
use crate::render::table::{Cell, Tone, table};

/// Compares the audit with itself, with the rows and with the feed.
pub(crate) async fn verify_audit(session: &Session) -> anyhow::Result<Outcome> {
    let progress = Progress::of("verifying the audit", 0);
    let report = if door::is_directory(&session.settings) {
        let reading = Reading::open(&session.settings)?;
        let key = reading.audit_key(&session.settings)?;
        reading.reader.audit_verify(&key, &mut |done, all| progress.of_at(done, all))?
    } else {
        let data = Data::open(&session.settings).await?;
        data.verify_audit(&mut |done, all| progress.of_at(done, all)).await?
    };
    drop(progress);
    Ok(tell(session, &report))
}

fn tell(session: &Session, report: &AuditReport) -> Outcome {
    let output = session.output;
    if output.json {
        let findings =
            report.findings.iter().map(|one| json!({"org": one.org, "place": one.place, "what": one.what}));
        output.say_json(&json!({
            "ok": report.findings.is_empty(), "entries": report.entries, "rows": report.rows, "head": report.head,
            "findings": findings.collect::<Vec<_>>(),
        }));
    } else if report.findings.is_empty() {
        output.say(&format!(
            "{}: {} entries and {} rows are as they were written; the chain ends in {}",
            output.paint.green("ok"),
            report.entries,
            report.rows,
            report.head
        ));
    } else {
        let rows = report.findings.iter().map(|one| {
            let org = one.org.map_or_else(|| "-".to_owned(), |org| org.to_string());
            vec![Cell::from(org), one.place.as_str().into(), Cell::new(one.what.as_str(), Tone::Bad)]
        });
        output.say(&table(&["org", "place", "what"], rows.collect(), output.width(), output.paint.on));
        output
            .error(&format!("the database is not as Keywright wrote it: {} findings", report.findings.len()));
    }
    if report.findings.is_empty() { Outcome::Done } else { Outcome::No }
}

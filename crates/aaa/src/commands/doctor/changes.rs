//! What is otherwise than with `aaasvc`, where a configuration leaves it to the default.

use aaa_service::audit::{JETSTREAM_AUDITOR, LOGFILE_AUDITOR};
use aaa_service::config::Document;

use super::report::{Check, Finding, Status};

/// What changes for a site that comes from `aaasvc` with this file. `chained`: whether tokens are those of a chain of trust.
pub(super) fn findings(document: &Document, chained: bool) -> Vec<Finding> {
    let top = document.top();
    let mut findings = Vec::new();
    let mut note = |subject: &str, text: &str| {
        findings.push(Finding::new(Check::Change, Status::Note, subject, text));
    };
    let auditors = top.list("auditors");
    for (name, key, table) in [
        ("logfile", "logfile_auditor", LOGFILE_AUDITOR),
        ("jetstream", "jetstream_auditor", JETSTREAM_AUDITOR),
        ("natsstream", "natsstream_auditor", JETSTREAM_AUDITOR),
    ] {
        let Some(section) = document.section(key, table) else {
            continue;
        };
        if !auditors.iter().any(|auditor| auditor == name) {
            continue;
        }
        if !section.has("delivery") {
            note(
                &section.key("delivery"),
                "what cannot be put on record is refused; aaasvc went on without (\"best_effort\" does that)",
            );
        }
        if name != "logfile" && !section.has("format") && !section.has("request_encoding") {
            note(
                &section.key("request_encoding"),
                "records hold the request as a text, as their schema says; aaasvc sent an object (\"object\" does that)",
            );
        }
    }
    if top.has("authenticator") && !top.has("login_throttle") {
        note(
            "login_throttle",
            "failed logins hold back the next ones, by name and by address; with aaasvc anybody could guess on",
        );
    }
    if chained {
        note(
            "basicjwt_signer",
            "tokens of a chain are verified from the organization issuer on; aaasvc believed whoever stood last in it",
        );
    }
    findings
}

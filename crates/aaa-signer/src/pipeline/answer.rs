//! What clients are told, in words that people understand.

use aaa_api::handler::SignOutcome;
use aaa_core::decision::Decision;
use aaa_core::request::Request;

/// The answer to whoever has not proved to be in good standing.
const DENIED: &str = "Request denied";

/// The longest text of a request's that is repeated to anybody.
const LONGEST: usize = 256;

pub(super) fn denied_without_reason() -> SignOutcome {
    SignOutcome::Refused {
        error: DENIED.to_owned(),
        detail: String::new(),
    }
}

/// The stock client shows `error` alone, so the reason stands in it.
pub(super) fn denied(why: &str) -> SignOutcome {
    let why = printable(why);
    SignOutcome::Refused {
        error: format!("{DENIED}: {why}"),
        detail: why,
    }
}

/// `up=bob may not puppet.disable here: needs a fact filter such as country=mt (opa_policy:5)`; with `here (opa):` where several decide.
pub(super) fn may_not(
    caller: &str,
    request: &Request,
    action: &str,
    by: Option<&str>,
    decision: &Decision,
) -> String {
    let may_not = format!("{caller} may not {}", named(request, action));
    match (by, decision.explanation()) {
        (Some(by), Some(explanation)) => format!("{may_not} here ({by}): {explanation}"),
        (None, Some(explanation)) => format!("{may_not} here: {explanation}"),
        (_, None) => may_not,
    }
}

/// An action of the agent that the request addresses: `puppet.disable`.
pub(super) fn named(request: &Request, action: &str) -> String {
    if action == request.action() {
        request.agent_action()
    } else {
        format!("{}.{action}", request.agent())
    }
}

/// Text from outside, fit for a terminal and one line of a log: no control characters, and not endless.
pub(super) fn printable(text: &str) -> String {
    let mut shown: String = text
        .chars()
        .take(LONGEST)
        .map(|c| {
            if c.is_control() || is_format(c) {
                '\u{fffd}'
            } else {
                c
            }
        })
        .collect();
    if text.chars().nth(LONGEST).is_some() {
        shown.push('…');
    }
    shown
}

/// Characters that change how the text around them is shown (bidirectional overrides, invisible ones).
fn is_format(c: char) -> bool {
    matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_cannot_play_with_the_terminal() {
        assert_eq!(
            printable("a\x1b[31m\nb\u{202e}c"),
            "a\u{fffd}[31m\u{fffd}b\u{fffd}c"
        );
        assert_eq!(printable(&"x".repeat(300)).chars().count(), LONGEST + 1);
        assert_eq!(printable("ünïcode β"), "ünïcode β");
    }
}

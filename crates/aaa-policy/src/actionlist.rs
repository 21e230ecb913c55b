//! The authorizer `actionlist`: the claim `agents` lists what the bearer may do.

use aaa_core::decision::Decision;

use crate::{Authorizer, Look, Question};

/// Why a list that allows nothing here refuses.
const NOT_LISTED: &str = "not in the action list";

/// Allows what the claim `agents` names: `*` (everything), `agent.*` or `agent.action`, in exactly these letters.
#[derive(Debug, Clone, Copy, Default)]
pub struct ActionList;

impl Authorizer for ActionList {
    fn name(&self) -> &'static str {
        "actionlist"
    }

    fn authorize(&self, question: &Question<'_>, seen: &mut dyn FnMut(&Look<'_>)) -> Decision {
        decide(
            &question.claims.agents,
            question.request.agent(),
            question.action,
            seen,
        )
    }
}

/// The entries in their order. The first that allows decides; one that cannot be understood ends the search.
fn decide(
    entries: &[String],
    agent: &str,
    action: &str,
    seen: &mut dyn FnMut(&Look<'_>),
) -> Decision {
    for entry in entries {
        let found = matches(entry, agent, action);
        seen(&Look {
            rule: entry,
            text: &"",
            decided: found != Some(false),
            found: match found {
                Some(true) => &"yes",
                Some(false) => &"no",
                None => &"cannot be understood",
            },
        });
        match found {
            Some(true) => return Decision::allow(entry.clone()),
            Some(false) => {}
            None => return Decision::failed(misunderstood(entry)),
        }
    }
    Decision::deny(NOT_LISTED)
}

/// Whether an entry allows this; `None` when it is neither `*` nor two parts around one dot.
fn matches(entry: &str, agent: &str, action: &str) -> Option<bool> {
    if entry == "*" {
        return Some(true);
    }
    let (wanted_agent, wanted_action) = entry.split_once('.')?;
    if wanted_action.contains('.') {
        return None;
    }
    Some(agent == wanted_agent && (wanted_action == "*" || wanted_action == action))
}

fn misunderstood(entry: &str) -> String {
    let start: String = entry.chars().take(100).collect();
    format!("the entry {start:?} of the action list is neither *, agent.* nor agent.action")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn list(entries: &[&str]) -> Vec<String> {
        entries.iter().map(|e| (*e).to_owned()).collect()
    }

    fn decide(entries: &[String], agent: &str, action: &str) -> Decision {
        super::decide(entries, agent, action, &mut |_| {})
    }

    #[test]
    fn entries_are_shown_up_to_the_one_that_decides() {
        let mut seen = Vec::new();
        let entries = list(&["package.*", "rpcutil.ping", "*"]);
        super::decide(&entries, "rpcutil", "ping", &mut |look| {
            seen.push((look.rule.to_owned(), look.decided, look.found.to_string()));
        });
        assert_eq!(
            seen,
            [
                ("package.*".to_owned(), false, "no".to_owned()),
                ("rpcutil.ping".to_owned(), true, "yes".to_owned())
            ]
        );
    }

    #[test]
    fn the_entry_that_allows_is_the_rule() {
        let entries = list(&["package.*", "rpcutil.ping"]);
        assert_eq!(
            decide(&entries, "rpcutil", "ping"),
            Decision::allow("rpcutil.ping")
        );
        assert_eq!(
            decide(&entries, "rpcutil", "inventory"),
            Decision::deny(NOT_LISTED)
        );
    }

    #[test]
    fn an_entry_that_cannot_be_understood_is_named() {
        let Decision::Failed { problem } = decide(&list(&["ba\nd", "*"]), "rpcutil", "ping") else {
            panic!("must fail");
        };
        assert_eq!(
            problem,
            r#"the entry "ba\nd" of the action list is neither *, agent.* nor agent.action"#
        );
    }

    proptest! {
        #[test]
        fn only_exact_entries_allow(entries in prop::collection::vec("\\PC{0,12}", 0..5), agent in "\\PC{1,8}", action in "\\PC{1,8}") {
            let exact = [String::from("*"), format!("{agent}.*"), format!("{agent}.{action}")];
            if decide(&entries, &agent, &action).is_allowed() {
                prop_assert!(entries.iter().any(|entry| exact.contains(entry)));
            }
        }

        #[test]
        fn entries_like_the_request_decide_as_they_say(agent in "[a-z_]{1,8}", action in "[a-z_]{1,8}", other in "[a-z_]{1,8}") {
            let one = vec![format!("{agent}.{action}")];
            prop_assert!(decide(&one, &agent, &action).is_allowed());
            prop_assert_eq!(decide(&one, &agent, &other).is_allowed(), action == other);
            prop_assert_eq!(decide(&one, &other, &action).is_allowed(), agent == other);
            let whole = vec![format!("{agent}.*")];
            prop_assert!(decide(&whole, &agent, &other).is_allowed());
        }
    }
}

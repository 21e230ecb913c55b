//! The authorizer `actionlist`: the claim `agents` lists what the bearer may do.

use aaa_core::decision::Decision;

use crate::{Authorizer, Question};

/// Why a list that allows nothing here refuses.
const NOT_LISTED: &str = "not in the action list";

/// Allows what the claim `agents` names: `*` (everything), `agent.*` or `agent.action`, in exactly these letters.
#[derive(Debug, Clone, Copy, Default)]
pub struct ActionList;

impl Authorizer for ActionList {
    fn name(&self) -> &'static str {
        "actionlist"
    }

    fn authorize(&self, question: &Question<'_>) -> Decision {
        decide(
            &question.claims.agents,
            question.request.agent(),
            question.action,
        )
    }
}

/// The entries in their order. The first that allows decides; one that cannot be understood ends the search.
fn decide(entries: &[String], agent: &str, action: &str) -> Decision {
    for entry in entries {
        match matches(entry, agent, action) {
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

use aaa_policy::guards::Guards;
use aaa_policy::pattern::Pattern;

use super::*;

/// Guards that demand a filter of every action.
fn guards() -> Box<dyn Authorizer> {
    Box::new(Guards {
        require_filter: vec![Pattern::new("*").unwrap()],
        ..Guards::default()
    })
}

/// A site with guards, which these authorizers decide for.
fn guarded(authorizers: Vec<Box<dyn Authorizer>>) -> Site {
    let site = Site::with(authorizers, false, Remembering::default());
    let demands = site.pipeline.demands.swap(Arc::new(nothing()));
    let demands = Arc::into_inner(demands).unwrap();
    site.pipeline.demands.store(Arc::new(Demands {
        chain: Chain {
            guards: vec![guards()],
            ..demands.chain
        },
        ..demands
    }));
    site
}

/// Demands that nothing meets.
fn nothing() -> Demands {
    Demands {
        chain: Chain::default(),
        rules: Rules {
            max_validity: Duration::ZERO,
        },
        limits: TimeLimits::default(),
        allow_bearer_tokens: false,
    }
}

fn filtered(agent: &str, action: &str) -> Vec<u8> {
    request_with(agent, action, |request| {
        request["filter"] = serde_json::json!({"identity": ["web1"]});
    })
}

#[tokio::test]
async fn a_guard_ends_it_before_anybody_is_asked() {
    let site = guarded(vec![Box::new(ActionList)]);
    let error = site.refused(site.ask(request("puppet", "status"))).await;
    assert_eq!(
        error,
        "Request denied: up=bob@example.net may not puppet.status here (guards): require_filter: needs a filter: a fact, a class, an \
         identity or a compound one"
    );
    site.refusal(Reason::NotAuthorized, Some("up=bob@example.net"));
}

#[tokio::test]
async fn guards_that_hold_leave_the_decision_to_the_authorizers() {
    let site = guarded(vec![Box::new(ActionList)]);
    let outcome = site.sign(site.ask(filtered("puppet", "status"))).await;
    assert!(matches!(outcome, Ok(SignOutcome::Signed(_))));
    // The rule on record is that of who gave leave.
    let allowed = Outcome::Allowed {
        rule: "puppet.status".into(),
    };
    assert_eq!(site.records()[0].outcome, allowed);
    let error = site.refused(site.ask(filtered("puppet", "disable"))).await;
    assert!(!error.contains("(guards)"), "{error}");
}

#[tokio::test]
async fn guards_alone_give_no_leave() {
    let site = guarded(Vec::new());
    let error = site.refused(site.ask(filtered("puppet", "status"))).await;
    assert!(error.ends_with("no authorizer is configured"), "{error}");
    site.refusal(Reason::PolicyFailed, Some("up=bob@example.net"));
}

#[tokio::test]
async fn of_several_authorizers_the_one_that_refused_is_named() {
    let both: Vec<Box<dyn Authorizer>> = vec![Box::new(ActionList), Box::new(Opa::default())];
    let site = Site::with(both, false, Remembering::default());
    for (action, named) in [
        ("disable", " here (actionlist): "),
        ("status", " here (opa): "),
    ] {
        let error = site.refused(site.ask(request("puppet", action))).await;
        assert!(error.contains(named), "{error}");
    }
    // It is on record, too.
    for (record, named) in site.records().iter().zip(["(actionlist)", "(opa)"]) {
        let Outcome::Refused { detail, .. } = &record.outcome else {
            panic!("allowed");
        };
        assert!(detail.contains(named), "{detail}");
    }
}

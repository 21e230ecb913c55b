//! What came of suites: for people, for programs, and for continuous integration.

use std::fmt::Write as _;

use quick_junit::{NonSuccessKind, Report, TestCase, TestCaseStatus, TestSuite};
use serde_json::{Value, json};

use super::coverage::{Coverage, Covered};
use super::run::{Done, Outcome};
use crate::failure::Failure;
use crate::screen::{Paint, printable};

/// For people: every case, of one that is not as expected also how it was decided, and the rules that never decided.
pub(super) fn text(all: &[Done], coverage: &Coverage, paint: Paint) -> String {
    let mut text = String::new();
    for done in all {
        let _infallible = writeln!(text, "{}", done.path.display());
        for outcome in &done.outcomes {
            let name = printable(&outcome.name);
            if outcome.is_expected() {
                let _infallible = writeln!(text, " {}    {name}", paint.good("ok"));
                continue;
            }
            let line = outcome.line;
            let _infallible = writeln!(text, " {}  {name} (line {line})", paint.bad("FAIL"));
            let unexpected = outcome.unexpected.iter().map(|line| printable(line));
            let tree = outcome.road.tree(paint);
            for line in unexpected.chain(tree.lines().map(str::to_owned)) {
                let _infallible = writeln!(text, "       {line}");
            }
        }
    }
    let (total, failed) = count(all);
    let verdict = match failed {
        0 => paint.good("all as expected"),
        _ => paint.bad(&format!("{failed} not as expected")),
    };
    let _infallible = writeln!(text, "{total} cases, {verdict}");
    never(coverage, &mut text);
    text
}

fn never(coverage: &Coverage, text: &mut String) {
    let (known, decided) = (coverage.rules.len(), coverage.decided());
    if known == 0 {
        return;
    }
    let end = if decided < known { "; never:" } else { "" };
    let _infallible = writeln!(
        text,
        "{decided} of {known} rules and lines decided a case{end}"
    );
    for Covered {
        of,
        by,
        rule,
        text: reads,
        ..
    } in coverage.never()
    {
        let line = printable(&format!("{by} {rule}  {reads}"));
        let (line, of) = (line.trim_end(), printable(of));
        let _infallible = writeln!(text, "  {line}  ({of})");
    }
}

/// How many cases there are, and how many are not as expected.
fn count(all: &[Done]) -> (usize, usize) {
    let outcomes = || all.iter().flat_map(|done| &done.outcomes);
    let failed = outcomes().filter(|outcome| !outcome.is_expected());
    (outcomes().count(), failed.count())
}

/// For programs.
pub(super) fn document(all: &[Done], coverage: &Coverage) -> Value {
    let (total, failed) = count(all);
    let cases = all.iter().flat_map(|done| {
        let suite = done.path.display().to_string();
        done.outcomes.iter().map(move |outcome| {
            json!({
                "suite": suite,
                "line": outcome.line,
                "name": outcome.name,
                "passed": outcome.is_expected(),
                "unexpected": outcome.unexpected,
                "decided": outcome.road.document(),
            })
        })
    });
    let never = coverage.never().map(
        |Covered {
             of, by, rule, text, ..
         }| json!({"of": of, "by": by, "rule": rule, "text": text}),
    );
    json!({
        "passed": total - failed,
        "failed": failed,
        "cases": cases.collect::<Vec<_>>(),
        "rules": {
            "known": coverage.rules.len(),
            "decided": coverage.decided(),
            "never": never.collect::<Vec<_>>(),
        },
    })
}

/// In the one format that every continuous integration reads: a suite for each file.
pub(super) fn junit(all: &[Done]) -> Result<String, Failure> {
    let mut report = Report::new("aaa policy test");
    for done in all {
        let mut suite = TestSuite::new(done.path.display().to_string());
        suite.add_test_cases(done.outcomes.iter().map(|outcome| case(done, outcome)));
        report.add_test_suite(suite);
    }
    report
        .to_string()
        .map_err(|error| Failure::failed(format!("cannot write the report: {error}")))
}

fn case(done: &Done, outcome: &Outcome) -> TestCase {
    let status = if outcome.is_expected() {
        TestCaseStatus::success()
    } else {
        let mut status = TestCaseStatus::non_success(NonSuccessKind::Failure);
        status
            .set_message(outcome.unexpected.join("; "))
            .set_description(outcome.road.tree(Paint::none()));
        status
    };
    let mut case = TestCase::new(outcome.name.clone(), status);
    let suite = done.path.display().to_string();
    case.set_classname(suite.clone());
    case.extra.insert("file".into(), suite.into());
    case.extra
        .insert("line".into(), outcome.line.to_string().into());
    case
}

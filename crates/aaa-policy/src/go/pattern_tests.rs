use proptest::prelude::*;

use super::*;

fn is_match(text: &str, with: &str) -> bool {
    pattern(text, false, 1 << 18).unwrap().is_match(with)
}

/// What Go 1.26 says of each, whole texts where the pattern is anchored.
#[test]
fn patterns_mean_what_they_mean_to_go() {
    for (text, yes, no) in [
        (r"^\w+$", "az_09", "ünï"),
        (r"^\d+$", "123", "١٢٣"),
        (r"^a\sb$", "a b", "a\u{a0}b"),
        (r"^a\sb$", "a\tb", "a\u{b}b"),
        (r"^\W$", "ü", "u"),
        (r"^a\b", "aü", "aa"),
        (r"^a\B", "aa", "aü"),
        (r"^[\w-.]+$", "a-.", "a+"),
        (r"^[^\D\n]$", "1", "a"),
        (r"^[[:alpha:][:^ascii:]]$", "ü", "1"),
        (r"^[[:space:]]$", "\u{b}", "\u{85}"),
        (r"^\Qa.b\E$", "a.b", "axb"),
        (r"^\Qa.b", "a.b", "axb"),
        (r"^\Qab\E*$", "abbb", "abab"),
        ("^[a&&b]$", "&", "c"),
        ("^[a~~b]$", "~", "c"),
        (r"^[\d--5]$", "1", "~"),
        ("^[[a]$", "[", "b"),
        ("^[]a]$", "]", "b"),
        ("^[^]a]$", "b", "]"),
        ("^[a-]$", "-", "b"),
        ("^x{,3}$", "x{,3}", "xx"),
        ("^{rm}$", "{rm}", "rm"),
        ("^x{01}$", "x{01}", "x"),
        ("^a{2}$", "aa", "a"),
        ("^a{2,}$", "aaa", "a"),
        (r"^\101\0?$", "A", "B"),
        (r"^\x41\x{1f600}$", "A😀", "A"),
        (r"^\_\-\/$", "_-/", "x"),
        ("(?i)^k$", "\u{212a}", "ĸ"),
        (r"(?i)^\w$", "\u{212a}", "ü"),
        (r"(?i)^\W$", "ü", "\u{17f}"),
        ("^(?i:a)b$", "Ab", "AB"),
        ("^a(?i)b$", "aB", "AB"),
        ("^(a(?i)b|c)d$", "Cd", "CD"),
        ("^a(?i)*$", "aaa", "aA"),
        ("^a*(?i)*$", "aa", "b"),
        ("(?m)^b$", "a\nb\nc", "a\nbc"),
        ("^b$", "b", "b\n"),
        ("^.$", "a", "\n"),
        ("(?s)^.$", "\n", ""),
        ("(?s-s)^.$", "a", "\n"),
        (r"^\pL\PL$", "ü1", "1ü"),
        (r"^\p{Greek}$", "α", "a"),
        (r"^\p{^Lu}[\P{^Lu}]$", "aA", "AA"),
        (r"^(?P<a>x)(?<b>y)()$", "xy", "x"),
        ("^(|a)$", "", "b"),
        (r"^\<a\>$", "<a>", "a"),
        ("^(a||b)$", "", "c"),
        ("^a|^*b", "b", "c"),
    ] {
        assert!(is_match(text, yes), "{text} {yes:?}");
        assert!(!is_match(text, no), "{text} {no:?}");
    }
}

#[test]
fn what_is_no_pattern_to_go_is_none() {
    for text in [
        "[",
        "a[",
        "(",
        ")",
        "a)",
        "*",
        "a|*",
        "(*)",
        "a**",
        "a++",
        "a{2}{3}",
        "a{1001}",
        "a{3,2}",
        "(a{100}){100}",
        "(?x) a",
        "(?u)a",
        "(?R)a",
        "(?=a)",
        "(?P=a)",
        "(?P<>a)",
        "(?P<a",
        "(?i",
        "(?-)",
        "(?i-)",
        "(?P<a-b>x)",
        r"\",
        r"\u0041",
        r"\8",
        r"\1",
        r"\C",
        r"\Z",
        r"\é",
        r"\x4",
        r"\x{}",
        r"\x{110000}",
        r"\x{g}",
        "[b-a]",
        r"[a-\d]",
        "[[:foo:]]",
        r"[\b]",
        r"\p",
        r"\p{L",
        "[a",
        r"[\",
    ] {
        let bad = pattern(text, false, 1 << 18).unwrap_err();
        assert!(matches!(bad, Bad::Wrong(_)), "{text}: {bad:?}");
    }
}

#[test]
fn what_cannot_be_said_here_is_told_apart() {
    for text in [
        r"\p{C}",
        r"\p{Cs}",
        r"\p{IsGreek}",
        r"\p{Alphabetic}",
        r"\x{d800}",
        "(?P<1>a)",
        "(a){0}",
        "a{0,0}",
        "(?P<a>x)(?P<a>y)",
        r"(\pL{100}){10}",
    ] {
        let bad = pattern(text, false, 1 << 18).unwrap_err();
        assert!(matches!(bad, Bad::NotHere(_)), "{text}: {bad:?}");
    }
    let deep = format!("{}a{}", "(".repeat(2000), ")".repeat(2000));
    assert!(matches!(
        pattern(&deep, false, 1 << 18),
        Err(Bad::NotHere(_))
    ));
}

#[test]
fn case_is_ignored_where_it_is_asked_for() {
    let pattern = pattern("^mt|[a-c]$", true, 1 << 18).unwrap();
    assert!(pattern.is_match("MTX") && pattern.is_match("xB"));
}

proptest! {
    #[test]
    fn any_text_is_a_pattern_or_none(text in "\\PC{0,12}", signs in r"[\[\]\\(){}^$.|*+?,:<>&~PQEUdwbpiLx0-9-]{0,24}") {
        for text in [text, signs] {
            let quoted = format!(r"^\Q{text}\E$");
            if let Err(Bad::Wrong(why)) = pattern(&text, false, 1 << 18) {
                prop_assert!(!why.is_empty());
            }
            if !text.contains(r"\E") && !text.ends_with('\\') {
                prop_assert!(is_match(&quoted, &text), "{quoted}");
            }
        }
    }
}

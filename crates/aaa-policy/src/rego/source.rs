//! From the text of a policy to its syntax, in the version of Rego that it is written in.
//!
//! A text that is Rego v1 is read as such. Only one that is not is tried as v0, and there the words that v1 made keywords
//! must not stand as plain names: the engine would take `allow if { … }` for a rule `allow` that is always true,
//! and another one called `if`.

use std::num::{NonZeroU32, NonZeroUsize};

use regorus::unstable::{Lexer, Module, Parser, Source, Span, Token, TokenKind};

use super::error::{Place, PolicyError};

/// The name under which the engine knows the text.
pub(super) const NAME: &str = "opa_policy";

/// What nested brackets may cost. The engine's parser tries each bracket twice, so every level doubles its work.
const MOST_NESTING: u64 = 1 << 15;

/// Words that are keywords in v1, and in v0 when imported.
const KEYWORDS: [&str; 4] = ["contains", "every", "if", "in"];

/// The syntax of a policy, and the version that it is written in.
pub(super) struct Parsed {
    /// Its syntax.
    pub(super) module: Module,
    /// Whether it was read as Rego v0.
    pub(super) v0: bool,
}

/// A version of Rego.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Version {
    V0,
    V1,
}

impl Version {
    /// As bundles have it.
    pub(super) fn of(number: &serde_json::Value) -> Option<Self> {
        match number.as_u64()? {
            0 => Some(Self::V0),
            1 => Some(Self::V1),
            _ => None,
        }
    }
}

/// How long a policy may be, for the engine's own checks.
pub(super) fn lengths(bytes: usize) -> regorus::PolicyLengthConfig {
    let bytes = NonZeroUsize::new(bytes).unwrap_or(NonZeroUsize::MIN);
    regorus::PolicyLengthConfig {
        max_col: widest(bytes),
        max_file_bytes: bytes,
        max_lines: bytes,
    }
}

fn widest(bytes: NonZeroUsize) -> NonZeroU32 {
    u32::try_from(bytes.get())
        .ok()
        .and_then(|bytes| bytes.checked_add(2))
        .and_then(NonZeroU32::new)
        .unwrap_or(NonZeroU32::MAX)
}

/// Reads a policy.
///
/// # Errors
/// When it is Rego in neither version, or too long or too deeply nested to be read.
pub(super) fn parse(text: &str, longest: usize) -> Result<Parsed, PolicyError> {
    if text.trim().is_empty() {
        return Err(PolicyError::new("the policy is empty"));
    }
    if text.len() > longest {
        let length = text.len();
        return Err(PolicyError::new(format!(
            "the policy is {length} bytes long, the limit is {longest}"
        )));
    }
    let source = source(text, longest)?;
    let words = scan(&source)?;
    let as_v1 = match module(&source, false) {
        Ok(module) => return Ok(Parsed { module, v0: false }),
        Err(error) => error,
    };
    match module(&source, true) {
        Ok(module) if imported(&module, &words) => Ok(Parsed { module, v0: true }),
        Ok(_) => Err(as_v1),
        Err(as_v0) => Err(likelier(as_v1, as_v0, &words)),
    }
}

/// Whether a policy that is said to be in a version means what it means as [`parse`] reads it.
///
/// # Errors
/// When it is no Rego of that version, or would mean something else.
pub(super) fn is_of(text: &str, longest: usize, version: Version) -> Result<(), PolicyError> {
    let source = source(text, longest)?;
    let words = scan(&source)?;
    if version == Version::V1 {
        return module(&source, false).map(drop);
    }
    if imported(&module(&source, true)?, &words) {
        Ok(())
    } else {
        Err(PolicyError::new(
            "it is said to be Rego v0, and has words of v1 without an import",
        ))
    }
}

/// Where a policy may name what other policies of its package, or of one beside it, define: under `data.io`, or under `data` as a whole.
pub(super) fn names_others(text: &str) -> Option<PolicyError> {
    let source = source(text, text.len()).ok()?;
    let mut lexer = Lexer::new(&source);
    lexer.set_max_col(NonZeroU32::MAX);
    let mut tokens = std::iter::from_fn(|| {
        lexer
            .next_token()
            .ok()
            .filter(|token| token.0 != TokenKind::Eof)
    })
    .peekable();
    let mut after_dot = false;
    while let Some(Token(kind, span)) = tokens.next() {
        let begins = kind == TokenKind::Ident && span.text() == "data" && !after_dot;
        after_dot = span.text() == ".";
        if !begins {
            continue;
        }
        let by = tokens.next_if(|Token(_, span)| matches!(span.text(), "." | "["));
        let wanted = match by.as_ref().map(|Token(_, span)| span.text()) {
            Some(".") => TokenKind::Ident,
            _ => TokenKind::String,
        };
        let is_data = |Token(kind, span): &Token| {
            *kind == wanted && span.text() != "io" && !span.text().contains('\\')
        };
        if by.is_none() || tokens.next_if(is_data).is_none() {
            let problem = "the policies of a bundle do not see one another: call a rule of this file by its name alone, and data by a name \
                           other than `io`";
            return Some(PolicyError::at(Place::of(&span), problem));
        }
    }
    None
}

fn source(text: &str, longest: usize) -> Result<Source, PolicyError> {
    let lengths = lengths(longest);
    Source::from_contents_with_limits(
        NAME.to_owned(),
        text.to_owned(),
        lengths.max_file_bytes,
        lengths.max_lines,
    )
    .map_err(|error| PolicyError::from_engine(&error.to_string()))
}

fn module(source: &Source, v0: bool) -> Result<Module, PolicyError> {
    let read = || {
        let mut parser = Parser::new(source)?;
        parser.set_max_col(NonZeroU32::MAX);
        if !v0 {
            parser.enable_rego_v1()?;
        }
        parser.parse()
    };
    // The engine's error type is not ours to name, so it is turned into text here.
    let module = read();
    module.map_err(|error| PolicyError::from_engine(&error.to_string()))
}

/// The author meant the version in which the text goes on longer, or whose words it uses.
fn likelier(v1: PolicyError, v0: PolicyError, words: &[&'static str]) -> PolicyError {
    let v1_first = v1.line() > v0.line() || (v1.line() == v0.line() && !words.is_empty());
    if v1_first { v1 } else { v0 }
}

/// Goes through the tokens without parsing: which of the newer words stand there as words of the language, and
/// whether the brackets nest no deeper than can be parsed in good time.
fn scan(source: &Source) -> Result<Vec<&'static str>, PolicyError> {
    let mut lexer = Lexer::new(source);
    lexer.set_max_col(NonZeroU32::MAX);
    let mut words = Vec::new();
    let mut pending: Option<&'static str> = None;
    let mut after_dot = false;
    let mut nesting = Nesting::default();
    loop {
        let token = lexer
            .next_token()
            .map_err(|error| PolicyError::from_engine(&error.to_string()))?;
        let text = token.1.text();
        // `contains(a, b)` is a function in both versions.
        if let Some(word) = pending.take()
            && !(word == "contains" && text == "(")
        {
            words.push(word);
        }
        match token.0 {
            TokenKind::Eof => return Ok(words),
            TokenKind::Symbol => nesting.see(text, &token.1)?,
            TokenKind::Ident if !after_dot => {
                pending = KEYWORDS.iter().copied().find(|word| *word == text);
            }
            _ => {}
        }
        after_dot = text == ".";
    }
}

#[derive(Default)]
struct Nesting {
    depth: u32,
    cost: u64,
}

impl Nesting {
    fn see(&mut self, symbol: &str, span: &Span) -> Result<(), PolicyError> {
        match symbol {
            "[" | "{" => {
                self.depth += 1;
                let cost = 1_u64.checked_shl(self.depth).unwrap_or(u64::MAX);
                self.cost = self.cost.saturating_add(cost);
            }
            "]" | "}" => self.depth = self.depth.saturating_sub(1),
            _ => {}
        }
        if self.depth > 40 || self.cost > MOST_NESTING {
            return Err(PolicyError::at(
                Place::of(span),
                "brackets are nested too deeply, or too often; use rules with names for the inner parts",
            ));
        }
        Ok(())
    }
}

/// Whether a v0 policy imports every newer word that it uses.
fn imported(module: &Module, words: &[&'static str]) -> bool {
    let imports: Vec<String> = module
        .imports
        .iter()
        .map(|import| path(&import.refr))
        .collect();
    let has = |wanted: &str| imports.iter().any(|import| import == wanted);
    let all = has("future.keywords") || has("rego.v1");
    words.iter().all(|word| {
        all || has(&format!("future.keywords.{word}"))
            // `every x in xs` brings its own `in`.
            || (*word == "in" && has("future.keywords.every"))
    })
}

fn path(reference: &regorus::unstable::Ref<regorus::unstable::Expr>) -> String {
    let parts = Parser::get_path_ref_components(reference).unwrap_or_default();
    let parts: Vec<&str> = parts.iter().map(Span::text).collect();
    parts.join(".")
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "package io.choria.aaasvc\n";

    fn read(body: &str) -> Result<bool, String> {
        parse(&format!("{HEAD}{body}"), 64 << 10)
            .map(|parsed| parsed.v0)
            .map_err(|error| error.to_string())
    }

    #[test]
    fn v1_is_tried_first() {
        assert_eq!(read("allow if input.agent == \"x\""), Ok(false));
        assert_eq!(read("import rego.v1\nallow if true"), Ok(false));
        assert_eq!(read("default allow = true"), Ok(false));
    }

    #[test]
    fn v0_is_what_v1_is_not() {
        assert_eq!(read("allow { input.agent == \"x\" }"), Ok(true));
        assert_eq!(read("allow { contains(input.agent, \"x\") }"), Ok(true));
        assert_eq!(
            read("import future.keywords.in\nallow { input.agent in {\"x\"} }"),
            Ok(true)
        );
        assert_eq!(
            read("import future.keywords.every\nallow { every x in [1] { x > 0 } }"),
            Ok(true)
        );
        assert_eq!(
            read("import future.keywords\nallow if { true }\nb { true }"),
            Ok(true)
        );
    }

    #[test]
    fn a_new_keyword_is_never_a_name_in_an_old_policy() {
        // Neither version allows both forms in one text; as v0, the first rule would be true for everybody.
        let error = read("default allow = false\nallow if { input.agent == \"x\" }\nb { true }")
            .unwrap_err();
        assert_eq!(error, "line 4: `if` keyword is required before rule body");
        assert!(read("allow { x in [1] }").is_err());
    }

    #[test]
    fn errors_say_where() {
        assert_eq!(
            read("import rego.v1\nallow { true }").unwrap_err(),
            "line 3: `if` keyword is required before rule body"
        );
        assert!(read("allow {").unwrap_err().starts_with("line 2: "));
        assert_eq!(
            parse(" \n", 64).err().unwrap().to_string(),
            "the policy is empty"
        );
        assert_eq!(
            parse(HEAD, 8).err().unwrap().to_string(),
            "the policy is 25 bytes long, the limit is 8"
        );
    }

    #[test]
    fn nesting_that_the_parser_would_choke_on_is_refused() {
        for (open, close) in [
            ("[", "]"),
            ("{", "}"),
            ("{\"a\":", "}"),
            ("(", ")"),
            ("input[", "]"),
        ] {
            for depth in [15, 40, 30_000] {
                let text = format!(
                    "allow if count({}1{}) > 0",
                    open.repeat(depth),
                    close.repeat(depth)
                );
                let read = parse(&format!("{HEAD}{text}"), 1 << 20);
                // The parser minds neither parentheses nor indexes as long as they are not too many for its stack.
                assert!(
                    read.is_err() || depth == 15 && !open.starts_with(['[', '{']),
                    "{open} {depth}"
                );
            }
        }
        let many = format!("x := [{}]", "[[[[[[[[1]]]]]]]],".repeat(1000));
        assert!(read(&many).unwrap_err().contains("nested too deeply"));
    }
}

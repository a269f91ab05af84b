//! The shape that a policy may have: what the engine's own recursion, in parsing and in evaluating, is bounded by. The
//! engine finds rules that need themselves, but not functions, and parses nested brackets in exponential time.

use std::collections::{BTreeMap, BTreeSet};

use regorus::unstable::{Lexer, Rule, RuleHead, Source, TokenKind};
use regorus::Engine;

/// Brackets within brackets.
const MAX_NESTING: usize = 12;
/// Definitions of rules in all: each may need the next, one deeper on the stack.
const MAX_RULES: usize = 512;
/// Binary operators in a module: each may nest one deeper than the one before.
const MAX_OPERATORS: usize = 1024;
/// What the engine's recursion is estimated to need at most, times a few: a level of brackets, of a rule's own or of an
/// operator took less than 2 KiB.
pub const STACK: usize = 64 << 20;
/// Up to this many levels, any thread's stack will do.
const MAX_LEVELS_INLINE: usize = 512;

/// What is wrong, and where in the text.
pub struct Misshapen {
    pub message: String,
    pub line: u32,
    pub column: u32,
}

/// The identifiers and symbols of a text, as far as it can be read.
fn tokens(name: &str, text: &str) -> Vec<(TokenKind, String, u32, u32)> {
    let mut out = Vec::new();
    let Ok(source) = Source::from_contents(name.to_owned(), text.to_owned()) else { return out };
    let mut lexer = Lexer::new(&source);
    while let Ok(token) = lexer.next_token() {
        if token.0 == TokenKind::Eof {
            break;
        }
        out.push((token.0.clone(), token.1.text().to_owned(), token.1.line, token.1.col));
    }
    out
}

/// How deep a policy may make the engine recurse, at most.
#[derive(Clone, Copy, Default)]
pub struct Depth {
    nesting: usize,
    operators: usize,
    rules: usize,
}

impl Depth {
    pub fn and(self, other: Depth) -> Depth {
        Depth {
            nesting: self.nesting.max(other.nesting),
            operators: self.operators + other.operators,
            rules: self.rules + other.rules,
        }
    }
    /// Whether the stack of the caller's thread is enough.
    pub fn is_small(self) -> bool {
        self.rules * (self.nesting + 2) + self.operators <= MAX_LEVELS_INLINE
    }
}

/// Before parsing: how deep brackets go, and how many operators there are.
pub fn check_text(name: &str, text: &str) -> Result<Depth, Misshapen> {
    let mut depth = 0_usize;
    let mut found = Depth::default();
    for (kind, symbol, line, column) in tokens(name, text) {
        if kind != TokenKind::Symbol {
            continue;
        }
        match symbol.as_str() {
            "(" | "[" | "{" => depth += 1,
            ")" | "]" | "}" => depth = depth.saturating_sub(1),
            "+" | "-" | "*" | "/" | "%" | "&" | "|" | "==" | "!=" | "<" | ">" | "<=" | ">=" => found.operators += 1,
            _ => {}
        }
        found.nesting = found.nesting.max(depth);
        if found.operators > MAX_OPERATORS {
            return Err(Misshapen { message: format!("more than {MAX_OPERATORS} operators"), line, column });
        }
        if depth > MAX_NESTING {
            let message = format!("more than {MAX_NESTING} brackets within each other");
            return Err(Misshapen { message, line, column });
        }
    }
    Ok(found)
}

type Calls = BTreeMap<String, BTreeSet<String>>;

/// After parsing: how many rules there are, and that no function calls itself, directly or through others. Calls are
/// found by name; where a name is an import's, every function of that name is taken to be called.
pub fn check_rules(engine: &mut Engine) -> Result<Depth, String> {
    let mut rules = 0;
    let mut texts: Vec<(String, String, String)> = Vec::new(); // package, function, text
    for module in engine.get_modules().iter() {
        let package = module.package.refr.span().text().to_owned();
        rules += module.policy.len();
        for rule in &module.policy {
            if let Rule::Spec { head: RuleHead::Func { refr, .. }, span, bodies, .. } = &**rule {
                // A rule's own span may end with its head: take all up to where its last body ends.
                let end = bodies.iter().map(|body| body.span.end.max(body.query.span.end)).max().unwrap_or(0).max(span.end);
                let contents = span.source.get_contents();
                let text = contents.get(span.start as usize..end as usize).unwrap_or(contents);
                texts.push((package.clone(), refr.span().text().to_owned(), text.to_owned()));
            }
        }
    }
    if rules > MAX_RULES {
        return Err(format!("{rules} rules, at most {MAX_RULES} are allowed"));
    }
    let mut calls: Calls = BTreeMap::new();
    for (package, function, _) in &texts {
        calls.entry(format!("data.{package}.{function}")).or_default();
    }
    let known: Vec<String> = calls.keys().cloned().collect();
    for (package, function, text) in &texts {
        let Some(callees) = calls.get_mut(&format!("data.{package}.{function}")) else { continue };
        let all = tokens("rule", text);
        // The head's own name is no call.
        let head = all.iter().position(|(_, text, ..)| text == "(").unwrap_or(0);
        for at in head + 1..all.len() {
            if all[at].1 != "(" || all[at].0 != TokenKind::Symbol {
                continue;
            }
            if all[at - 1].1 == "]" {
                return Err(format!("{function}: a function is called by its plain name"));
            }
            if all[at - 1].0 != TokenKind::Ident {
                continue;
            }
            let mut first = at - 1;
            while first >= 2 && all[first - 1].1 == "." && all[first - 2].0 == TokenKind::Ident {
                first -= 2;
            }
            let path: String = all[first..at].iter().map(|token| token.1.as_str()).collect();
            let last = format!(".{}", all[at - 1].1);
            let own = format!("data.{package}.{path}");
            for callee in &known {
                let imported = first < at - 1 && !path.starts_with("data.") && callee.ends_with(&last);
                if *callee == path || *callee == own || imported {
                    callees.insert(callee.clone());
                }
            }
        }
    }
    // What calls nothing that is left is no part of a circle.
    loop {
        let leaves: Vec<String> =
            calls.iter().filter(|(_, callees)| callees.is_empty()).map(|(function, _)| function.clone()).collect();
        if leaves.is_empty() {
            break;
        }
        for leaf in &leaves {
            calls.remove(leaf);
            calls.values_mut().for_each(|callees| {
                callees.remove(leaf);
            });
        }
    }
    match calls.keys().next() {
        Some(function) => Err(format!("recursion: {function} calls itself")),
        None => Ok(Depth { rules, ..Depth::default() }),
    }
}

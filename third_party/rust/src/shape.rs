//! The shape that a policy may have: what the engine's own recursion, in parsing and in evaluating, is bounded by. The
//! engine parses nested brackets in exponential time.

use regorus::unstable::{Lexer, Source, TokenKind};
use regorus::Engine;

/// Brackets within brackets.
const MAX_NESTING: usize = 12;
/// Definitions of rules in all: each may need the next, one deeper on the stack.
const MAX_RULES: usize = 512;
/// Binary operators in a module: each may nest one deeper than the one before.
const MAX_OPERATORS: usize = 1024;
/// Names in one reference, one after another: each is one deeper on the stack.
const MAX_NAMES: usize = 256;
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
    let mut names = 0_usize;
    let mut found = Depth::default();
    for (kind, symbol, line, column) in tokens(name, text) {
        if kind != TokenKind::Symbol {
            continue;
        }
        names = match symbol.as_str() {
            "." | "[" => names + 1,
            "]" => names,
            _ => 0,
        };
        if names > MAX_NAMES {
            return Err(Misshapen { message: format!("more than {MAX_NAMES} names in one reference"), line, column });
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

/// After parsing: how many rules there are.
pub fn check_rules(engine: &mut Engine) -> Result<Depth, String> {
    let rules = engine.get_modules().iter().map(|module| module.policy.len()).sum();
    if rules > MAX_RULES {
        return Err(format!("{rules} rules, at most {MAX_RULES} are allowed"));
    }
    Ok(Depth { rules, ..Depth::default() })
}

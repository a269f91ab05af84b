//! Which definition of a rule held, and which conditions of the others did not. The engine does not say, so a second copy of
//! the modules, in which values of definitions and conditions of bodies pass through builtins of ours, is evaluated beside
//! the first; it explains only where both agree.

use std::cell::RefCell;

use regorus::unstable::{AssignOp, Expr, Literal, LiteralStmt, Rule, RuleBody, RuleHead};
use regorus::{Engine, Value};

use crate::rego::{add_module, new_engine, prepare, Failure, Policy};

/// Of the value of a definition: it held.
const HELD: &str = "cloister_held";
/// Of a comprehension that is empty exactly when a condition is not met: it was evaluated, whatever came of it.
const TESTED: &str = "cloister_tested";
/// Of a value that a condition has where it is defined: it is met unless it is false, or holds nothing to go through.
const PASSED: &str = "cloister_passed";
/// Definitions that one evaluation records.
const MAX_RECORDED: usize = 1024;
/// Conditions that are told of, and the characters of each.
const MAX_UNMET: usize = 32;
const MAX_TEXT: usize = 160;

/// What was seen of a condition.
#[derive(Clone, Copy, Default)]
struct Seen {
    evaluated: bool,
    met: bool,
}

#[derive(Default)]
pub struct Recorded {
    held: Vec<usize>,      // in the order in which they did
    conditions: Vec<Seen>, // by number
}

thread_local! {
    static RECORDED: RefCell<Recorded> = const { RefCell::new(Recorded { held: Vec::new(), conditions: Vec::new() }) };
}

fn held(args: Vec<Value>) -> anyhow::Result<Value> {
    let id = args[0].as_u64()? as usize;
    RECORDED.with(|recorded| {
        let held = &mut recorded.borrow_mut().held;
        if held.len() < MAX_RECORDED && !held.contains(&id) {
            held.push(id);
        }
    });
    Ok(args[1].clone())
}

fn note(id: &Value, met: bool) -> anyhow::Result<()> {
    let id = id.as_u64()? as usize;
    RECORDED.with(|recorded| {
        if let Some(seen) = recorded.borrow_mut().conditions.get_mut(id) {
            seen.evaluated = true;
            seen.met |= met;
        }
    });
    Ok(())
}

fn tested(args: Vec<Value>) -> anyhow::Result<Value> {
    let met = !args[1].as_array()?.is_empty();
    note(&args[0], met)?;
    Ok(Value::Bool(met))
}

fn passed(args: Vec<Value>) -> anyhow::Result<Value> {
    let empty = match &args[1] {
        Value::Array(items) => items.is_empty(),
        Value::Set(items) => items.is_empty(),
        Value::Object(members) => members.is_empty(),
        value => *value == Value::Bool(false),
    };
    note(&args[0], !empty)?;
    Ok(args[1].clone())
}

#[derive(Clone, serde::Serialize)]
pub struct Decided {
    module: String,
    rule: String,
    line: u32,
    default: bool,
}

/// A condition that kept a definition from holding.
#[derive(Clone, serde::Serialize)]
pub struct Unmet {
    module: String,
    rule: String,
    line: u32,
    column: u32,
    text: String,
}

/// A body of a definition.
struct Body {
    definition: Option<usize>, // whose value says whether it held; of functions and sets there is none
    of_entrypoint: bool,
    conditions: Vec<usize>,
}

/// What stands in the modules.
#[derive(Default)]
struct Found {
    definitions: Vec<Decided>,
    conditions: Vec<Unmet>,
    bodies: Vec<Body>,
    entries: Vec<String>, // the names of rules that are asked for
}

pub struct Explainer {
    engine: Engine,
    found: Found,
}

impl Explainer {
    /// With conditions where a copy that records them compiles, else of definitions alone; nothing when neither does.
    pub fn of(policy: &Policy) -> Option<Explainer> {
        Explainer::make(policy, true).or_else(|| Explainer::make(policy, false))
    }

    fn make(policy: &Policy, conditions: bool) -> Option<Explainer> {
        let mut original = policy.engine.clone();
        let name = |(path, _): &(String, bool)| path.rsplit('.').next().unwrap_or_default().to_owned();
        let mut found = Found { entries: policy.entrypoints.iter().map(name).collect(), ..Found::default() };
        let mut copies = Vec::new();
        for module in original.get_modules().iter() {
            let source = &module.package.span.source;
            let mut edits = Vec::new();
            for rule in &module.policy {
                let (module, text) = (source.get_path(), source.get_contents());
                Collector { module, text, found: &mut found, edits: &mut edits }.collect(rule, conditions);
            }
            copies.push((source.get_path().clone(), edited(source.get_contents(), edits)?));
        }
        let mut engine = new_engine().ok()?;
        engine.add_extension(HELD.to_owned(), 2, Box::new(held)).ok()?;
        engine.add_extension(TESTED.to_owned(), 2, Box::new(tested)).ok()?;
        engine.add_extension(PASSED.to_owned(), 2, Box::new(passed)).ok()?;
        for (path, text) in &copies {
            add_module(&mut engine, path, text).ok()?;
        }
        prepare(&mut engine, &policy.entrypoints).ok()?;
        Some(Explainer { engine, found })
    }

    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Runs an evaluation and gives its result with what was seen of definitions and conditions.
    pub fn record<R>(&self, evaluation: impl FnOnce() -> Result<R, Failure>) -> Option<(R, Recorded)> {
        let conditions = vec![Seen::default(); self.found.conditions.len()];
        RECORDED.with(|recorded| *recorded.borrow_mut() = Recorded { held: Vec::new(), conditions });
        let result = evaluation();
        let recorded = RECORDED.with(RefCell::take);
        result.ok().map(|result| (result, recorded))
    }

    /// The recorded definitions, then the defaults of rules of which none is among them.
    pub fn decided(&self, recorded: &Recorded) -> Vec<Decided> {
        let definitions = &self.found.definitions;
        let mut out: Vec<Decided> = recorded.held.iter().filter_map(|id| definitions.get(*id)).cloned().collect();
        for default in definitions.iter().filter(|one| one.default) {
            if !out.iter().any(|one| one.rule == default.rule && one.module == default.module) {
                out.push(default.clone());
            }
        }
        out
    }

    /// Of each definition that was looked at and did not hold: the conditions that were evaluated and never met, else the first
    /// that was not even evaluated, since nothing that it needs is defined.
    pub fn unmet(&self, recorded: &Recorded) -> Vec<Unmet> {
        let seen = |id: &usize| recorded.conditions.get(*id).copied().unwrap_or_default();
        let mut out = Vec::new();
        for body in &self.found.bodies {
            let holds = match body.definition {
                Some(id) => recorded.held.contains(&id),
                None => body.conditions.iter().all(|id| seen(id).met),
            };
            if holds {
                continue;
            }
            let failed: Vec<usize> =
                body.conditions.iter().filter(|id| seen(id).evaluated && !seen(id).met).copied().collect();
            let looked_at = body.of_entrypoint || body.conditions.iter().any(|id| seen(id).evaluated);
            let blamed = match failed.is_empty() && looked_at {
                true => body.conditions.iter().find(|id| !seen(id).evaluated).copied().into_iter().collect(),
                false => failed,
            };
            out.extend(blamed.iter().filter_map(|id| self.found.conditions.get(*id)).cloned());
        }
        out.truncate(MAX_UNMET);
        out
    }
}

/// Text to put in at a byte offset.
type Edit = (usize, String);

/// What goes through one module.
struct Collector<'a> {
    module: &'a str,
    text: &'a str,
    found: &'a mut Found,
    edits: &'a mut Vec<Edit>,
}

impl<'a> Collector<'a> {
    fn define(&mut self, rule: &str, line: u32, default: bool) -> usize {
        self.found.definitions.push(Decided { module: self.module.to_owned(), rule: rule.to_owned(), line, default });
        self.found.definitions.len() - 1
    }

    fn collect(&mut self, rule: &Rule, conditions: bool) {
        let (name, bodies, head) = match rule {
            Rule::Default { refr, args, span, .. } if args.is_empty() => {
                let name = self.name(refr.span().start, refr.span().end);
                self.define(name, span.line, true);
                return;
            }
            Rule::Spec { head: RuleHead::Compr { refr, assign, .. }, bodies, .. } => {
                let (start, end) = (refr.span().start, self.end_of_name(refr.span().end));
                let name = self.name(start, end);
                let id = self.define(name, refr.span().line, false);
                match assign {
                    Some(assign) => self.wrap_value(HELD, end, assign.value.span().end, id),
                    None => self.edits.push((end as usize, format!(" = {HELD}({id}, true)"))),
                }
                (name, bodies, Some(id))
            }
            Rule::Spec { head: RuleHead::Func { refr, .. } | RuleHead::Set { refr, .. }, bodies, .. } => {
                (self.name(refr.span().start, refr.span().end), bodies, None)
            }
            _ => return,
        };
        for body in bodies {
            let definition = match (&body.assign, body.is_else) {
                (Some(assign), true) if head.is_some() => {
                    let id = self.define(name, body.span.line, false);
                    let after_else = body.span.start + "else".len() as u32;
                    self.wrap_value(HELD, after_else, assign.value.span().end, id);
                    Some(id)
                }
                (_, true) => None,
                (_, false) => head,
            };
            if conditions {
                self.collect_body(name, body, definition);
            }
        }
    }

    /// Of what a head names, `told["a"]`, the engine's span ends before the last quote and bracket.
    fn end_of_name(&self, end: u32) -> u32 {
        let Some(rest) = self.text.get(end as usize..) else { return end };
        let unquoted = rest.strip_prefix(['"', '`']).unwrap_or(rest).trim_start();
        match unquoted.strip_prefix(']') {
            Some(behind) => (self.text.len() - behind.len()) as u32,
            None => end,
        }
    }

    /// The whole of it.
    fn name(&self, start: u32, end: u32) -> &'a str {
        let text: &'a str = self.text;
        text.get(start as usize..self.end_of_name(end) as usize).unwrap_or_default()
    }

    fn collect_body(&mut self, rule: &str, body: &RuleBody, definition: Option<usize>) {
        let first = self.found.conditions.len();
        for statement in &body.query.stmts {
            self.collect_condition(rule, statement);
        }
        let conditions: Vec<usize> = (first..self.found.conditions.len()).collect();
        let of_entrypoint = self.found.entries.iter().any(|entry| entry == rule);
        self.found.bodies.push(Body { definition, of_entrypoint, conditions });
    }

    /// How a condition is recorded follows from what it may bind: a variable that a comprehension binds stays in there.
    fn collect_condition(&mut self, rule: &str, statement: &LiteralStmt) {
        let (start, end) = self.with_quotes(statement.span.start, statement.span.end);
        let Some(text) = self.text.get(start as usize..end as usize).filter(|_| statement.with_mods.is_empty()) else { return };
        let id = self.found.conditions.len();
        match &statement.literal {
            Literal::SomeVars { .. } => return,
            Literal::SomeIn { collection, .. } => match &**collection {
                Expr::Var { span, .. } | Expr::RefDot { span, .. } | Expr::RefBrack { span, .. } | Expr::Call { span, .. } => {
                    self.wrap(format!("{PASSED}({id}, "), span.start, end, ")");
                }
                _ => return,
            },
            Literal::Expr { expr, .. } => match &**expr {
                Expr::AssignExpr { op: AssignOp::ColEq, lhs, .. } => self.wrap_value(PASSED, lhs.span().end, end, id),
                Expr::AssignExpr { lhs, rhs, .. } => match names_variable(lhs) || names_variable(rhs) {
                    true => return,
                    false => self.wrap(format!("{TESTED}({id}, [1 | "), start, end, "])"),
                },
                _ if goes_through(expr) => self.wrap(format!("{PASSED}({id}, "), start, end, ")"),
                _ => self.wrap(format!("{TESTED}({id}, [1 | "), start, end, "])"),
            },
            Literal::NotExpr { .. } | Literal::Every { .. } => self.wrap(format!("{TESTED}({id}, [1 | "), start, end, "])"),
        }
        let mut words = text.split_whitespace().collect::<Vec<_>>().join(" ");
        if words.chars().count() > MAX_TEXT {
            words = words.chars().take(MAX_TEXT).collect::<String>() + "…";
        }
        self.found.conditions.push(Unmet {
            module: self.module.to_owned(),
            rule: rule.to_owned(),
            line: statement.span.line,
            column: statement.span.col - (statement.span.start - start),
            text: words,
        });
    }

    /// The quotes of a text are no part of the engine's span of it.
    fn with_quotes(&self, start: u32, end: u32) -> (u32, u32) {
        const QUOTES: [char; 2] = ['"', '`'];
        let before = self.text.get(..start as usize).is_some_and(|text| text.ends_with(QUOTES));
        let after = self.text.get(end as usize..).is_some_and(|text| text.starts_with(QUOTES));
        (start - u32::from(before), end + u32::from(after))
    }

    fn wrap(&mut self, before: String, start: u32, end: u32, after: &str) {
        let (start, end) = self.with_quotes(start, end);
        self.edits.push((start as usize, before));
        self.edits.push((end as usize, after.to_owned()));
    }

    /// The value from after its `:=` or `=` up to `end`; what stands before is a name, which ends at `after`. (The engine's
    /// own idea of where an object starts is not where it does.)
    fn wrap_value(&mut self, builtin: &str, after: u32, end: u32, id: usize) {
        let Some(rest) = self.text.get(after as usize..).map(str::trim_start) else { return };
        let Some(value) = rest.strip_prefix(":=").or_else(|| rest.strip_prefix('=')).map(str::trim_start) else { return };
        let start = self.text.len() - value.len();
        if start < end as usize {
            self.wrap(format!("{builtin}({id}, "), start as u32, end, ")");
        }
    }
}

/// Whether any part of an expression is as asked for; comprehensions are not looked into, since they bind for themselves.
fn any_part(expr: &Expr, is: &dyn Fn(&Expr) -> bool) -> bool {
    let any = |part: &Expr| any_part(part, is);
    is(expr)
        || match expr {
            Expr::Array { items, .. } | Expr::Set { items, .. } => items.iter().any(|item| any(item)),
            Expr::Object { fields, .. } => fields.iter().any(|(_, key, value)| any(key) || any(value)),
            Expr::Call { params, .. } => params.iter().any(|param| any(param)),
            Expr::UnaryExpr { expr, .. } => any(expr),
            Expr::RefDot { refr, .. } => any(refr),
            Expr::RefBrack { refr, index, .. } => any(refr) || any(index),
            Expr::BinExpr { lhs, rhs, .. }
            | Expr::BoolExpr { lhs, rhs, .. }
            | Expr::ArithExpr { lhs, rhs, .. }
            | Expr::AssignExpr { lhs, rhs, .. } => any(lhs) || any(rhs),
            Expr::Membership { key, value, collection, .. } => {
                key.as_ref().is_some_and(|key| any(key)) || any(value) || any(collection)
            }
            _ => false,
        }
}

/// Whether it may go through a collection by a variable in brackets, which later conditions may use.
fn goes_through(expr: &Expr) -> bool {
    any_part(expr, &|part| match part {
        Expr::RefBrack { index, .. } => any_part(index, &|inner| matches!(inner, Expr::Var { span, .. } if span.text() != "_")),
        _ => false,
    })
}

/// Whether it names anything but input and data: it may be what `=` binds.
fn names_variable(expr: &Expr) -> bool {
    any_part(expr, &|part| matches!(part, Expr::Var { span, .. } if span.text() != "input" && span.text() != "data"))
}

fn edited(text: &str, mut edits: Vec<Edit>) -> Option<String> {
    edits.sort_by_key(|(at, _)| *at);
    let mut out = String::with_capacity(text.len() + 32 * edits.len());
    let mut from = 0;
    for (at, insertion) in edits {
        out.push_str(text.get(from..at)?);
        out.push_str(&insertion);
        from = at;
    }
    out.push_str(text.get(from..)?);
    Some(out)
}

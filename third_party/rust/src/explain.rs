//! Which definition of a rule held. The engine does not say, so a second copy of the modules, in which the value of every
//! definition passes through a builtin of ours, is evaluated beside the first; it explains only where both agree.

use std::cell::RefCell;

use regorus::unstable::{Rule, RuleHead};
use regorus::{Engine, Value};

use crate::rego::{add_module, new_engine, prepare, Failure, Policy};

const BUILTIN: &str = "cloister_held";
/// Definitions that one evaluation records.
const MAX_RECORDED: usize = 1024;

thread_local! {
    static RECORDED: RefCell<Vec<usize>> = const { RefCell::new(Vec::new()) };
}

fn held(args: Vec<Value>) -> anyhow::Result<Value> {
    let id = args[0].as_u64()? as usize;
    RECORDED.with(|recorded| {
        let mut recorded = recorded.borrow_mut();
        if recorded.len() < MAX_RECORDED && !recorded.contains(&id) {
            recorded.push(id);
        }
    });
    Ok(args[1].clone())
}

/// Runs an evaluation and gives its result with the definitions that held.
pub fn record<R>(evaluation: impl FnOnce() -> Result<R, Failure>) -> Option<(R, Vec<usize>)> {
    RECORDED.with(|recorded| recorded.borrow_mut().clear());
    let result = evaluation();
    let recorded = RECORDED.with(RefCell::take);
    result.ok().map(|result| (result, recorded))
}

#[derive(Clone, serde::Serialize)]
pub struct Decided {
    module: String,
    rule: String,
    line: u32,
    default: bool,
}

pub struct Explainer {
    engine: Engine,
    definitions: Vec<Decided>,
}

impl Explainer {
    /// Nothing when the copy does not compile.
    pub fn of(policy: &Policy) -> Option<Explainer> {
        let mut original = policy.engine.clone();
        let mut definitions = Vec::new();
        let mut copies = Vec::new();
        for module in original.get_modules().iter() {
            let source = &module.package.span.source;
            let mut edits = Vec::new();
            for rule in &module.policy {
                collect(rule, source.get_path(), source.get_contents(), &mut definitions, &mut edits);
            }
            copies.push((source.get_path().clone(), edited(source.get_contents(), edits)?));
        }
        let mut engine = new_engine().ok()?;
        engine.add_extension(BUILTIN.to_owned(), 2, Box::new(held)).ok()?;
        for (path, text) in &copies {
            add_module(&mut engine, path, text).ok()?;
        }
        prepare(&mut engine, &policy.entrypoints).ok()?;
        Some(Explainer { engine, definitions })
    }

    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// The recorded definitions, then the defaults of rules of which none is among them.
    pub fn decided(&self, recorded: &[usize]) -> Vec<Decided> {
        let mut out: Vec<Decided> = recorded.iter().filter_map(|id| self.definitions.get(*id)).cloned().collect();
        for default in self.definitions.iter().filter(|one| one.default) {
            if !out.iter().any(|one| one.rule == default.rule && one.module == default.module) {
                out.push(default.clone());
            }
        }
        out
    }
}

/// Text to put in at a byte offset.
type Edit = (usize, String);

fn collect(rule: &Rule, module: &str, text: &str, definitions: &mut Vec<Decided>, edits: &mut Vec<Edit>) {
    let mut define = |rule: &str, line: u32, default: bool| {
        definitions.push(Decided { module: module.to_owned(), rule: rule.to_owned(), line, default });
        definitions.len() - 1
    };
    match rule {
        Rule::Default { refr, args, span, .. } if args.is_empty() => {
            define(refr.span().text(), span.line, true);
        }
        Rule::Spec { head: RuleHead::Compr { refr, assign, .. }, bodies, .. } => {
            let name = refr.span().text();
            let id = define(name, refr.span().line, false);
            match assign {
                Some(assign) => wrap(text, refr.span().end, assign.value.span().end, id, edits),
                None => edits.push((refr.span().end as usize, format!(" = {BUILTIN}({id}, true)"))),
            }
            for body in bodies.iter().filter(|body| body.is_else) {
                if let Some(assign) = &body.assign {
                    let id = define(name, body.span.line, false);
                    let after_else = body.span.start + "else".len() as u32;
                    wrap(text, after_else, assign.value.span().end, id, edits);
                }
            }
        }
        _ => {}
    }
}

/// The value from after its `:=` or `=` up to `end`; what stands before is the rule's name, which ends at `after`. (The
/// engine's own idea of where an object starts is not where it does.)
fn wrap(text: &str, after: u32, end: u32, id: usize, edits: &mut Vec<Edit>) {
    let Some(rest) = text.get(after as usize..).map(str::trim_start) else { return };
    let Some(value) = rest.strip_prefix(":=").or_else(|| rest.strip_prefix('=')).map(str::trim_start) else { return };
    let start = text.len() - value.len();
    if start < end as usize {
        edits.push((start, format!("{BUILTIN}({id}, ")));
        edits.push((end as usize, ")".to_owned()));
    }
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

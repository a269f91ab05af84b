//! What the engine finds out only when it gets there, found before: calls of what does not exist, or with another number
//! of arguments, and rules that need themselves. The engine finds the latter among rules while it evaluates, among
//! functions not at all.

use std::collections::{BTreeMap, BTreeSet};

use regorus::unstable::{AssignOp, Expr, Literal, LiteralStmt, Module, Rule, RuleHead, Span, BUILTINS};

use crate::shape::Misshapen;
use crate::visit::{head_of, package_of, path_of, root_of, variables_of, walk_rule, Visitor};

/// Builtins of ours, and the engine's own that is in no table: any number of arguments where there is none.
const OURS: [(&str, Option<usize>); 2] = [("query_reference_value", Some(1)), ("print", None)];

/// What is wrong, and in which module.
pub struct Found {
    pub module: String,
    pub what: Misshapen,
}

fn found<T>(span: &Span, message: String) -> Result<T, Found> {
    Err(Found { module: span.source.get_path().clone(), what: Misshapen { message, line: span.line, column: span.col } })
}

/// A definition of a rule or function.
struct Definition<'a> {
    rule: &'a Rule,
    module: usize,
    path: Vec<String>,           // from "data" to the first name that is not constant
    arguments: Option<usize>,    // of a function
}

/// A module's names for what is elsewhere.
struct Names {
    package: Vec<String>,
    imports: BTreeMap<String, Vec<String>>,
}

impl Names {
    fn of(module: &Module) -> Names {
        let mut imports = BTreeMap::new();
        for import in &module.imports {
            let (path, _) = path_of(&import.refr);
            if path.first().is_none_or(|first| first != "data" && first != "input") {
                continue; // of keywords
            }
            let name = import.r#as.as_ref().map(|alias| alias.text().to_owned()).or_else(|| path.last().cloned());
            if let Some(name) = name {
                imports.insert(name, path);
            }
        }
        Names { package: package_of(module), imports }
    }

    /// Where a path begins that a text of this module has.
    fn whole(&self, path: &[String]) -> Vec<String> {
        let Some((first, rest)) = path.split_first() else { return Vec::new() };
        let start = match (first.as_str(), self.imports.get(first)) {
            ("data" | "input", _) => return path.to_vec(),
            (_, Some(imported)) => imported.clone(),
            (_, None) => self.package.iter().chain([first]).cloned().collect(),
        };
        start.into_iter().chain(rest.iter().cloned()).collect()
    }
}

/// A rule's references and calls, and the names that are its own.
#[derive(Default)]
struct Uses<'a> {
    references: Vec<&'a Expr>, // each as long as it goes
    calls: Vec<(&'a Expr, usize)>, // function, number of arguments
    own: BTreeSet<String>,
    inside: BTreeSet<*const Expr>, // references that are part of one which was seen already
}

impl<'a> Visitor<'a> for Uses<'a> {
    fn expr(&mut self, expr: &'a Expr) {
        match expr {
            Expr::Call { fcn, params, .. } => {
                self.calls.push((fcn, params.len()));
                self.enter(fcn);
            }
            Expr::Var { .. } if !self.inside.contains(&std::ptr::from_ref(expr)) => self.references.push(expr),
            Expr::RefDot { refr, .. } | Expr::RefBrack { refr, .. } => {
                if !self.inside.contains(&std::ptr::from_ref(expr)) {
                    self.references.push(expr);
                }
                self.inside.insert(std::ptr::from_ref(&**refr));
            }
            Expr::AssignExpr { op: AssignOp::ColEq, lhs, .. } => self.declare(lhs),
            _ => {}
        }
    }

    fn statement(&mut self, statement: &'a LiteralStmt) {
        match &statement.literal {
            Literal::SomeVars { vars, .. } => vars.iter().for_each(|name| {
                self.own.insert(name.text().to_owned());
            }),
            Literal::SomeIn { key, value, .. } => {
                key.iter().for_each(|key| self.declare(key));
                self.declare(value);
            }
            Literal::Every { key, value, .. } => key.iter().chain([value]).for_each(|name| {
                self.own.insert(name.text().to_owned());
            }),
            _ => {}
        }
    }
}

impl<'a> Uses<'a> {
    fn of(rule: &'a Rule) -> Uses<'a> {
        let mut uses = Uses::default();
        if let Rule::Spec { head: RuleHead::Func { args, .. }, .. } | Rule::Default { args, .. } = rule {
            args.iter().for_each(|arg| uses.declare(arg));
        }
        walk_rule(rule, &mut uses);
        uses
    }
    fn declare(&mut self, pattern: &Expr) {
        variables_of(pattern, &mut |name| {
            self.own.insert(name.to_owned());
        });
    }
    /// A function's name is no reference.
    fn enter(&mut self, function: &Expr) {
        self.inside.insert(std::ptr::from_ref(function));
    }
}

fn definitions<'a>(modules: &'a [impl AsRef<Module>], names: &[Names]) -> Vec<Definition<'a>> {
    let mut out = Vec::new();
    for (module, one) in modules.iter().enumerate() {
        for rule in &one.as_ref().policy {
            let arguments = match &**rule {
                Rule::Spec { head: RuleHead::Func { args, .. }, .. } => Some(args.len()),
                Rule::Default { args, .. } if !args.is_empty() => Some(args.len()),
                _ => None,
            };
            let mut path = names[module].package.clone();
            path.extend(path_of(head_of(rule)).0);
            out.push(Definition { rule, module, path, arguments });
        }
    }
    out
}

/// Whether the one may be what the other is part of.
fn meet(one: &[String], other: &[String]) -> bool {
    one.iter().zip(other).all(|(one, other)| one == other)
}

fn arguments(count: usize) -> String {
    format!("{count} argument{}", if count == 1 { "" } else { "s" })
}

/// The function's definitions where it is the policy's own; refuses what there is not.
fn check_call(
    function: &Expr, given: usize, names: &Names, definitions: &[Definition],
) -> Result<Vec<usize>, Found> {
    let (path, whole) = path_of(function);
    if !whole || function.span().text().contains('[') {
        return found(root_of(function).span(), "a function is called by its plain name".to_owned());
    }
    let name = path.join(".");
    let wanted = names.whole(&path);
    let own: Vec<usize> = (0..definitions.len())
        .filter(|at| definitions[*at].arguments.is_some() && definitions[*at].path == wanted)
        .collect();
    let ours = OURS.iter().find(|(ours, _)| *ours == name).map(|(_, expected)| *expected);
    let builtin = BUILTINS.get(name.as_str()).map(|(_, expected)| Some(usize::from(*expected)));
    let expected = match (own.first(), ours.or(builtin)) {
        (Some(first), _) => definitions[*first].arguments,
        (None, Some(expected)) => expected,
        (None, None) => return found(root_of(function).span(), format!("there is no function {name}")),
    };
    // One more is where the result goes.
    match expected {
        Some(expected) if given != expected && given != expected + 1 => {
            found(root_of(function).span(), format!("{name} takes {}, not {given}", arguments(expected)))
        }
        _ => Ok(own),
    }
}

/// A way from one definition to another, and where it stands.
struct Need<'a> {
    definition: usize,
    span: &'a Span,
}

fn needs<'a>(at: usize, definitions: &[Definition<'a>], names: &[Names]) -> Result<Vec<Need<'a>>, Found> {
    let one = &definitions[at];
    let uses = Uses::of(one.rule);
    let mut out = Vec::new();
    let mut known = vec![false; definitions.len()]; // one way to each is enough
    let mut add = |definition: usize, span: &'a Span| {
        if !std::mem::replace(&mut known[definition], true) {
            out.push(Need { definition, span });
        }
    };
    for (function, given) in uses.calls {
        let called = check_call(function, given, &names[one.module], definitions)?;
        called.into_iter().for_each(|definition| add(definition, root_of(function).span()));
    }
    let mut asked = BTreeSet::new();
    for reference in uses.references {
        let (path, _) = path_of(reference);
        let Some(first) = path.first() else { continue };
        if uses.own.contains(first) {
            continue;
        }
        let wanted = names[one.module].whole(&path);
        if asked.contains(&wanted) {
            continue;
        }
        let met = (0..definitions.len()).filter(|at| meet(&definitions[*at].path, &wanted));
        met.for_each(|definition| add(definition, root_of(reference).span()));
        asked.insert(wanted);
    }
    Ok(out)
}

/// Refuses a way that leads back to where it came from.
fn check_circles(definitions: &[Definition], needs: &[Vec<Need>]) -> Result<(), Found> {
    #[derive(Clone, Copy, PartialEq)]
    enum Seen {
        Never,
        OnTheWay,
        Done,
    }
    let mut seen = vec![Seen::Never; definitions.len()];
    for start in 0..definitions.len() {
        let mut way = vec![(start, 0_usize)]; // a definition, and how many of its needs were followed
        while let Some((at, next)) = way.pop() {
            if next == 0 && seen[at] != Seen::Never {
                continue;
            }
            seen[at] = Seen::OnTheWay;
            let Some(need) = needs[at].get(next) else {
                seen[at] = Seen::Done;
                continue;
            };
            way.push((at, next + 1));
            match seen[need.definition] {
                Seen::Never => way.push((need.definition, 0)),
                Seen::Done => {}
                Seen::OnTheWay => {
                    let first = way.iter().position(|(on, _)| *on == need.definition).unwrap_or_default();
                    let name = |at: usize| definitions[at].path.join(".");
                    let by: Vec<String> = way[first + 1..].iter().map(|(on, _)| name(*on)).collect();
                    let by = if by.is_empty() { String::new() } else { format!(", by {}", by.join(" and ")) };
                    return found(need.span, format!("recursion: {} needs itself{by}", name(need.definition)));
                }
            }
        }
    }
    Ok(())
}

/// Definitions that one name has as a function and as a value, or with several numbers of arguments.
fn check_definitions(definitions: &[Definition]) -> Result<(), Found> {
    let mut first: BTreeMap<&[String], Option<usize>> = BTreeMap::new();
    for one in definitions {
        let expected = *first.entry(&one.path).or_insert(one.arguments);
        if expected != one.arguments {
            let says = |arguments: Option<usize>| arguments.map_or("a value".to_owned(), |count| format!("a function of {}", self::arguments(count)));
            let name = one.path.join(".");
            return found(root_of(head_of(one.rule)).span(), format!("{name} is {} here, and {} before", says(one.arguments), says(expected)));
        }
    }
    Ok(())
}

/// After parsing.
pub fn check(modules: &[impl AsRef<Module>]) -> Result<(), Found> {
    let names: Vec<Names> = modules.iter().map(|module| Names::of(module.as_ref())).collect();
    let definitions = definitions(modules, &names);
    check_definitions(&definitions)?;
    let needs = (0..definitions.len()).map(|at| needs(at, &definitions, &names)).collect::<Result<Vec<_>, Found>>()?;
    check_circles(&definitions, &needs)
}

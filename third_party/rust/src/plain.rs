//! Which policies are plain: each of their steps takes no longer than a walk through what they are given and what stands in
//! them, so that a look at the clock between steps bounds them.
//!
//! A value that a policy builds may share its parts many times over, as `[a, a]` does: it is small, and a walk through it
//! is not. So whatever walks (comparisons, keys, elements of sets, arguments, definitions that might disagree) must
//! have in a plain policy what was given or stands in it, or a part of that, and not what was built. Built values may be counted,
//! gone through, looked into, and be the result. Functions, `with`, all arithmetic but sums, operators of sets and all builtins but
//! a few make a policy not plain: this is meant to know what release conditions commonly are, not all that is bounded.

use std::collections::BTreeSet;

use regorus::unstable::{ArithOp, AssignOp, Expr, Literal, LiteralStmt, Module, Query, Rule, RuleBody, RuleHead};

use crate::visit::{assigned, head_of, package_of, parts_of, path_of, root_of, variables_of, walk_rule, Part, Visitor};

/// Builtins that take no longer than their arguments are, nor make more of them, with how many they take.
const PLAIN_BUILTINS: [(&str, usize); 18] = [
    ("contains", 2),
    ("count", 1),
    ("endswith", 2),
    ("floor", 1),
    ("is_array", 1),
    ("is_boolean", 1),
    ("is_null", 1),
    ("is_number", 1),
    ("is_object", 1),
    ("is_set", 1),
    ("is_string", 1),
    ("lower", 1),
    ("object.get", 3),
    ("query_reference_value", 1),
    ("split", 2),
    ("startswith", 2),
    ("trim_prefix", 2),
    ("upper", 1),
];
/// These take a built value too: they do not walk through it.
const OF_ANYTHING: [&str; 7] = ["count", "is_array", "is_boolean", "is_null", "is_number", "is_object", "is_set"];

/// Walks through the modules that finding built names may take.
const MAX_ROUNDS: usize = 16;

/// Which names may have a built value. A name is the same everywhere: that two are not only makes more of them built.
struct Names<'a> {
    built: BTreeSet<String>,
    packages: BTreeSet<String>, // first names after "data"
    modules: Vec<&'a Module>,
}

fn is_constant(expr: &Expr) -> bool {
    match expr {
        Expr::String { .. } | Expr::RawString { .. } | Expr::Number { .. } | Expr::Bool { .. } | Expr::Null { .. } => true,
        Expr::Array { items, .. } | Expr::Set { items, .. } => items.iter().all(|item| is_constant(item)),
        Expr::Object { fields, .. } => fields.iter().all(|(_, key, value)| is_constant(key) && is_constant(value)),
        Expr::UnaryExpr { expr, .. } => matches!(&**expr, Expr::Number { .. }),
        _ => false,
    }
}

fn is_collection(expr: &Expr) -> bool {
    matches!(expr, Expr::Array { .. } | Expr::Set { .. } | Expr::Object { .. })
}

impl Names<'_> {
    fn may_be_built(&self, expr: &Expr) -> bool {
        match expr {
            _ if is_constant(expr) => false,
            Expr::Var { .. } | Expr::RefDot { .. } | Expr::RefBrack { .. } => match root_of(expr) {
                Expr::Var { span, .. } => match span.text() {
                    "input" => false,
                    "data" => path_of(expr).0.get(1).is_none_or(|name| self.packages.contains(name)),
                    name => self.built.contains(name),
                },
                root => self.may_be_built(root),
            },
            Expr::Call { .. } | Expr::BoolExpr { .. } | Expr::Membership { .. } | Expr::AssignExpr { .. } => false,
            Expr::ArithExpr { .. } | Expr::UnaryExpr { .. } => false,
            _ => true,
        }
    }

    fn add(&mut self, name: &str) {
        self.built.insert(name.to_owned());
    }

    /// Until nothing is added any more; false when that takes too long.
    fn close(&mut self) -> bool {
        for _ in 0..MAX_ROUNDS {
            let before = self.built.len();
            for module in self.modules.clone() {
                for rule in &module.policy {
                    self.add_rule(rule);
                    let mut adder = Adder(self);
                    walk_rule(rule, &mut adder);
                }
            }
            if self.built.len() == before {
                return true;
            }
        }
        false
    }

    fn add_rule(&mut self, rule: &Rule) {
        let head = head_of(rule);
        let Expr::Var { span, .. } = root_of(head) else { return };
        let built = match rule {
            Rule::Default { value, .. } => self.may_be_built(value),
            Rule::Spec { head: RuleHead::Set { .. }, .. } => true,
            Rule::Spec { head, bodies, .. } => {
                let values = assigned(head).into_iter().chain(bodies.iter().filter_map(|body| body.assign.as_ref()));
                values.map(|assign| &assign.value).any(|value| self.may_be_built(value))
            }
        };
        if built || !matches!(head, Expr::Var { .. }) {
            self.add(span.text());
        }
    }
}

struct Adder<'n, 'a>(&'n mut Names<'a>);

impl<'a> Visitor<'a> for Adder<'_, '_> {
    fn expr(&mut self, expr: &'a Expr) {
        if let Expr::AssignExpr { lhs, rhs, .. } = expr {
            if self.0.may_be_built(rhs) {
                variables_of(lhs, &mut |name| self.0.add(name));
            }
        }
    }
    fn statement(&mut self, statement: &'a LiteralStmt) {
        match &statement.literal {
            Literal::SomeIn { key, value, collection, .. } if self.0.may_be_built(collection) => {
                key.iter().for_each(|key| variables_of(key, &mut |name| self.0.add(name)));
                variables_of(value, &mut |name| self.0.add(name));
            }
            Literal::Every { key, value, domain, .. } if self.0.may_be_built(domain) => {
                key.iter().chain([value]).for_each(|name| self.0.add(name.text()));
            }
            _ => {}
        }
    }
}

/// Looks for what is not plain.
struct Judge<'n, 'a> {
    names: &'n Names<'a>,
    plain: bool,
}

impl Judge<'_, '_> {
    fn demand(&mut self, plain: bool) {
        self.plain &= plain;
    }
    /// What is walked through there.
    fn walked(&mut self, expr: &Expr) {
        self.demand(!self.names.may_be_built(expr));
    }
    /// What it is matched with may be built only where the pattern looks at nothing.
    fn matched(&mut self, pattern: &Expr, with: &Expr) {
        self.demand(matches!(pattern, Expr::Var { .. }) || !self.names.may_be_built(with));
    }
    fn call(&mut self, function: &Expr, params: &[impl AsRef<Expr>]) {
        let name = path_of(function).0.join(".");
        self.demand(PLAIN_BUILTINS.contains(&(name.as_str(), params.len())));
        if !OF_ANYTHING.contains(&name.as_str()) {
            params.iter().for_each(|param| self.walked(param.as_ref()));
        }
    }
    fn rule(&mut self, rule: &Rule) {
        self.keys(head_of(rule));
        match rule {
            Rule::Default { args, .. } => self.demand(args.is_empty()),
            Rule::Spec { head, bodies, .. } => match head {
                RuleHead::Func { .. } => self.demand(false),
                RuleHead::Set { key, .. } => key.iter().for_each(|key| self.walked(key)),
                RuleHead::Compr { refr, .. } => self.values(rule, refr, bodies, assigned(head).map(|assign| &*assign.value)),
            },
        }
    }
    /// Names of an object in a head that are not constant.
    fn keys(&mut self, head: &Expr) {
        match head {
            Expr::RefDot { refr, .. } => self.keys(refr),
            Expr::RefBrack { refr, index, .. } => {
                self.keys(refr);
                self.walked(index);
            }
            _ => {}
        }
    }
    /// Values of definitions, which are compared where there may be two.
    fn values(&mut self, rule: &Rule, refr: &Expr, bodies: &[RuleBody], value: Option<&Expr>) {
        let mut values = value.into_iter().chain(bodies.iter().filter_map(|body| body.assign.as_ref()).map(|assign| &*assign.value));
        if !values.any(|value| self.names.may_be_built(value)) {
            return;
        }
        let (path, whole) = path_of(refr);
        let looped = value.is_some_and(may_loop) || bodies.iter().any(|body| query_may_loop(&body.query));
        self.demand(whole && bodies.len() <= 1 && !looped);
        for module in &self.names.modules {
            for other in module.policy.iter().filter(|other| !std::ptr::eq(&***other, rule)) {
                let other_path = path_of(head_of(other)).0;
                let default = matches!(**other, Rule::Default { .. }) && other_path == path;
                self.demand(default || !path.iter().zip(&other_path).all(|(one, other)| one == other));
            }
        }
    }
}

/// Whether there may be several values.
fn may_loop(expr: &Expr) -> bool {
    let mut loops = match expr {
        Expr::ArrayCompr { .. } | Expr::SetCompr { .. } | Expr::ObjectCompr { .. } => return false,
        Expr::RefBrack { index, .. } => !is_constant(index),
        _ => false,
    };
    parts_of(expr, &mut |part| {
        if let Part::Expr(expr) = part {
            loops |= may_loop(expr);
        }
    });
    loops
}

fn query_may_loop(query: &Query) -> bool {
    query.stmts.iter().any(|statement| match &statement.literal {
        Literal::SomeVars { .. } | Literal::SomeIn { .. } => true,
        Literal::Expr { expr, .. } | Literal::NotExpr { expr, .. } => may_loop(expr),
        Literal::Every { domain, .. } => may_loop(domain),
    })
}

impl<'a> Visitor<'a> for Judge<'_, '_> {
    fn expr(&mut self, expr: &'a Expr) {
        match expr {
            Expr::Call { fcn, params, .. } => self.call(fcn, params),
            Expr::BinExpr { .. } => self.demand(false),
            Expr::ArithExpr { op, lhs, rhs, .. } => {
                self.demand(matches!(op, ArithOp::Add | ArithOp::Sub));
                self.walked(lhs);
                self.walked(rhs);
            }
            Expr::BoolExpr { lhs, rhs, .. } => {
                self.walked(lhs);
                self.walked(rhs);
            }
            Expr::Membership { key, value, collection, .. } => {
                key.iter().for_each(|key| self.walked(key));
                self.walked(value);
                self.walked(collection);
            }
            Expr::AssignExpr { op: AssignOp::Eq, lhs, rhs, .. } => {
                self.demand(!is_collection(lhs) || is_constant(lhs));
                self.walked(lhs);
                self.walked(rhs);
            }
            Expr::AssignExpr { op: AssignOp::ColEq, lhs, rhs, .. } => self.matched(lhs, rhs),
            Expr::Set { items, .. } => items.iter().for_each(|item| self.walked(item)),
            Expr::SetCompr { term, .. } => self.walked(term),
            Expr::Object { fields, .. } => fields.iter().for_each(|(_, key, _)| self.walked(key)),
            Expr::ObjectCompr { key, value, .. } => {
                self.walked(key);
                self.walked(value);
            }
            Expr::RefBrack { index, .. } => self.walked(index),
            _ => {}
        }
    }
    fn statement(&mut self, statement: &'a LiteralStmt) {
        self.demand(statement.with_mods.is_empty());
        if let Literal::SomeIn { key, value, collection, .. } = &statement.literal {
            key.iter().for_each(|key| self.matched(key, collection));
            self.matched(value, collection);
        }
    }
}

/// Whether each step of these modules is bounded by what is given.
pub fn is_plain(modules: &[impl AsRef<Module>]) -> bool {
    let modules: Vec<&Module> = modules.iter().map(|module| module.as_ref()).collect();
    let keyword = |path: &[String]| path.first().is_some_and(|first| first == "rego" || first == "future");
    if modules.iter().any(|module| module.imports.iter().any(|import| !keyword(&path_of(&import.refr).0))) {
        return false;
    }
    let packages = modules.iter().filter_map(|module| package_of(module).get(1).cloned()).collect();
    let mut names = Names { built: BTreeSet::new(), packages, modules };
    let plain = names.close();
    let mut judge = Judge { names: &names, plain };
    for module in &names.modules {
        for rule in &module.policy {
            judge.rule(rule);
            walk_rule(rule, &mut judge);
        }
    }
    judge.plain
}

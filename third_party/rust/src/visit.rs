//! Walks of what the engine parsed, and names in it.

use regorus::unstable::{Expr, Literal, LiteralStmt, Module, Query, Rule, RuleAssign, RuleHead};

/// What an expression or statement directly consists of.
#[derive(Clone, Copy)]
pub enum Part<'a> {
    Expr(&'a Expr),
    Query(&'a Query),
}

pub fn parts_of<'a>(expr: &'a Expr, visit: &mut dyn FnMut(Part<'a>)) {
    match expr {
        Expr::String { .. } | Expr::RawString { .. } | Expr::Number { .. } | Expr::Bool { .. } | Expr::Null { .. } | Expr::Var { .. } => {}
        Expr::Array { items, .. } | Expr::Set { items, .. } => items.iter().for_each(|item| visit(Part::Expr(item))),
        Expr::Object { fields, .. } => fields.iter().for_each(|(_, key, value)| {
            visit(Part::Expr(key));
            visit(Part::Expr(value));
        }),
        Expr::ArrayCompr { term, query, .. } | Expr::SetCompr { term, query, .. } => {
            visit(Part::Expr(term));
            visit(Part::Query(query));
        }
        Expr::ObjectCompr { key, value, query, .. } => {
            visit(Part::Expr(key));
            visit(Part::Expr(value));
            visit(Part::Query(query));
        }
        Expr::Call { fcn, params, .. } => {
            visit(Part::Expr(fcn));
            params.iter().for_each(|param| visit(Part::Expr(param)));
        }
        Expr::UnaryExpr { expr, .. } => visit(Part::Expr(expr)),
        Expr::RefDot { refr, .. } => visit(Part::Expr(refr)),
        Expr::RefBrack { refr, index, .. } => {
            visit(Part::Expr(refr));
            visit(Part::Expr(index));
        }
        Expr::BinExpr { lhs, rhs, .. }
        | Expr::BoolExpr { lhs, rhs, .. }
        | Expr::ArithExpr { lhs, rhs, .. }
        | Expr::AssignExpr { lhs, rhs, .. } => {
            visit(Part::Expr(lhs));
            visit(Part::Expr(rhs));
        }
        Expr::Membership { key, value, collection, .. } => {
            key.iter().for_each(|key| visit(Part::Expr(key)));
            visit(Part::Expr(value));
            visit(Part::Expr(collection));
        }
    }
}

/// With what `with` puts in the place of something, without the name of what it replaces.
pub fn parts_of_statement<'a>(statement: &'a LiteralStmt, visit: &mut dyn FnMut(Part<'a>)) {
    match &statement.literal {
        Literal::SomeVars { .. } => {}
        Literal::SomeIn { key, value, collection, .. } => {
            key.iter().for_each(|key| visit(Part::Expr(key)));
            visit(Part::Expr(value));
            visit(Part::Expr(collection));
        }
        Literal::Expr { expr, .. } | Literal::NotExpr { expr, .. } => visit(Part::Expr(expr)),
        Literal::Every { domain, query, .. } => {
            visit(Part::Expr(domain));
            visit(Part::Query(query));
        }
    }
    statement.with_mods.iter().for_each(|modifier| visit(Part::Expr(&modifier.r#as)));
}

/// Everything of a rule but the name that it has.
pub fn parts_of_rule<'a>(rule: &'a Rule, visit: &mut dyn FnMut(Part<'a>)) {
    fn indexes<'a>(refr: &'a Expr, visit: &mut dyn FnMut(Part<'a>)) {
        match refr {
            Expr::RefDot { refr, .. } => indexes(refr, visit),
            Expr::RefBrack { refr, index, .. } => {
                indexes(refr, visit);
                visit(Part::Expr(index));
            }
            _ => {}
        }
    }
    indexes(head_of(rule), visit);
    match rule {
        Rule::Default { args, value, .. } => {
            args.iter().for_each(|arg| visit(Part::Expr(arg)));
            visit(Part::Expr(value));
        }
        Rule::Spec { head, bodies, .. } => {
            match head {
                RuleHead::Compr { .. } => {}
                RuleHead::Set { key, .. } => key.iter().for_each(|key| visit(Part::Expr(key))),
                RuleHead::Func { args, .. } => args.iter().for_each(|arg| visit(Part::Expr(arg))),
            }
            assigned(head).iter().for_each(|assign| visit(Part::Expr(&assign.value)));
            for body in bodies {
                body.assign.iter().for_each(|assign| visit(Part::Expr(&assign.value)));
                visit(Part::Query(&body.query));
            }
        }
    }
}

/// The value that stands in a head.
pub fn assigned(head: &RuleHead) -> Option<&RuleAssign> {
    match head {
        RuleHead::Compr { assign, .. } | RuleHead::Func { assign, .. } => assign.as_ref(),
        RuleHead::Set { .. } => None,
    }
}

/// What a rule is called by.
pub fn head_of(rule: &Rule) -> &Expr {
    match rule {
        Rule::Spec { head: RuleHead::Compr { refr, .. } | RuleHead::Set { refr, .. } | RuleHead::Func { refr, .. }, .. }
        | Rule::Default { refr, .. } => refr,
    }
}

/// Every expression and every statement beneath, each before what it consists of.
pub trait Visitor<'a> {
    fn expr(&mut self, _expr: &'a Expr) {}
    fn statement(&mut self, _statement: &'a LiteralStmt) {}
}

pub fn walk<'a>(part: Part<'a>, visitor: &mut dyn Visitor<'a>) {
    match part {
        Part::Expr(expr) => {
            visitor.expr(expr);
            parts_of(expr, &mut |part| walk(part, visitor));
        }
        Part::Query(query) => {
            for statement in &query.stmts {
                visitor.statement(statement);
                parts_of_statement(statement, &mut |part| walk(part, visitor));
            }
        }
    }
}

pub fn walk_rule<'a>(rule: &'a Rule, visitor: &mut dyn Visitor<'a>) {
    parts_of_rule(rule, &mut |part| walk(part, visitor));
}

/// The names of `a.b["c"]` up to the first that is not constant, and whether that is all of it. Empty for what is no
/// reference.
pub fn path_of(expr: &Expr) -> (Vec<String>, bool) {
    match expr {
        Expr::Var { span, .. } => (vec![span.text().to_owned()], true),
        Expr::RefDot { refr, field, .. } => {
            let (mut path, whole) = path_of(refr);
            if whole {
                path.push(field.0.text().to_owned());
            }
            (path, whole)
        }
        Expr::RefBrack { refr, index, .. } => {
            let (mut path, whole) = path_of(refr);
            match (&**index, whole) {
                (Expr::String { value, .. } | Expr::RawString { value, .. }, true) => {
                    path.push(value.as_string().map(|text| text.to_string()).unwrap_or_default());
                    (path, true)
                }
                _ => (path, false),
            }
        }
        _ => (Vec::new(), false),
    }
}

/// The variables of a pattern.
pub fn variables_of(pattern: &Expr, found: &mut dyn FnMut(&str)) {
    match pattern {
        Expr::Var { span, .. } => found(span.text()),
        Expr::Array { items, .. } | Expr::Set { items, .. } => items.iter().for_each(|item| variables_of(item, found)),
        Expr::Object { fields, .. } => fields.iter().for_each(|(_, _, value)| variables_of(value, found)),
        _ => {}
    }
}

/// What a reference begins with; the expression itself where it is none.
pub fn root_of(expr: &Expr) -> &Expr {
    match expr {
        Expr::RefDot { refr, .. } | Expr::RefBrack { refr, .. } => root_of(refr),
        _ => expr,
    }
}

/// "data", and the package's names.
pub fn package_of(module: &Module) -> Vec<String> {
    let mut out = vec!["data".to_owned()];
    out.extend(path_of(&module.package.refr).0);
    out
}

//! Builtins whose result can be far larger than their arguments. The engine checks time and memory between steps, not
//! within a builtin, and an allocation that fails ends the process: so these look at the size of what they would make
//! first, and refuse it beyond a limit.

use std::cell::Cell;
use std::fmt::Write;
use std::sync::Arc;

use anyhow::{anyhow, Result};
use regorus::unstable::{BuiltinFcn, Expr, Ref, Source, BUILTINS};
use regorus::{Engine, Value};

/// Bytes of a string that such a builtin makes.
const MAX_TEXT: usize = 1 << 20;
/// Elements of an array that such a builtin makes.
const MAX_ELEMENTS: u64 = 100_000;
/// Bits that a number is shifted by; columns that a format verb pads to.
const MAX_WIDTH: u64 = 4096;

thread_local! {
    static REFUSED: Cell<bool> = const { Cell::new(false) };
}

/// Whether a builtin of this thread refused since the last time that this was asked. The engine turns a builtin's error
/// into text, so that its type does not tell.
pub fn take_refused() -> bool {
    REFUSED.with(|refused| refused.replace(false))
}

fn text_size(value: &Value) -> usize {
    match value {
        Value::String(text) => text.len(),
        _ => 0,
    }
}

/// Nothing for what cannot be written: the engine refuses to write numbers beyond its own limits.
fn number_size(value: &Value) -> Option<usize> {
    let mut text = String::new();
    write!(text, "{value}").ok().map(|()| text.len())
}

/// An upper bound of the JSON text's size, or nothing when it is above `limit`; stops as soon as it is.
fn json_size(value: &Value, limit: usize) -> Option<usize> {
    fn add(value: &Value, left: usize) -> Option<usize> {
        match value {
            Value::String(text) => left.checked_sub(6 * text.len() + 3),
            Value::Array(items) => items.iter().try_fold(left.checked_sub(3)?, |left, item| add(item, left)),
            Value::Set(items) => items.iter().try_fold(left.checked_sub(3)?, |left, item| add(item, left)),
            Value::Object(members) => {
                members.iter().try_fold(left.checked_sub(3)?, |left, (key, item)| add(item, add(key, left)?))
            }
            Value::Number(_) => left.checked_sub(number_size(value)? + 1),
            _ => left.checked_sub(6),
        }
    }
    add(value, limit).map(|left| limit - left)
}

fn concat_fits(args: &[Value]) -> bool {
    let sizes: Vec<usize> = match &args[1] {
        Value::Array(items) => items.iter().map(text_size).collect(),
        Value::Set(items) => items.iter().map(text_size).collect(),
        _ => return true,
    };
    let delimiter = text_size(&args[0]).saturating_mul(sizes.len());
    sizes.iter().fold(delimiter, |sum, size| sum.saturating_add(*size)) <= MAX_TEXT
}

/// Of a text whose every position may become the replacement.
fn replaced_fits(text: &Value, replacement: usize) -> bool {
    (text_size(text) + 1).saturating_mul(replacement.saturating_add(1)) <= MAX_TEXT
}

fn replace_fits(args: &[Value]) -> bool {
    let (text, old, new) = (text_size(&args[0]), text_size(&args[1]), text_size(&args[2]));
    match old {
        0 => replaced_fits(&args[0], new),
        _ => (text / old).saturating_mul(new).saturating_add(text) <= MAX_TEXT,
    }
}

fn replace_n_fits(args: &[Value]) -> bool {
    match &args[0] {
        // Each pattern works on the result of the one before.
        Value::Object(pairs) => {
            let start = text_size(&args[1]);
            pairs.iter().try_fold(start, |size, (old, new)| {
                let grown = (size / text_size(old).max(1) + 1).saturating_mul(text_size(new)).saturating_add(size);
                (grown <= MAX_TEXT).then_some(grown)
            }).is_some()
        }
        _ => true,
    }
}

fn regex_replace_fits(args: &[Value]) -> bool {
    replaced_fits(&args[0], text_size(&args[2]).saturating_mul(text_size(&args[0]).max(1)))
}

/// The widths of the verbs in the format, and the sizes of what they show.
fn sprintf_fits(args: &[Value]) -> bool {
    let Value::String(format) = &args[0] else { return true };
    let mut size = format.len();
    let mut digits: u64 = 0;
    for byte in format.bytes() {
        match byte {
            b'0'..=b'9' => digits = digits.saturating_mul(10).saturating_add(u64::from(byte - b'0')),
            _ => digits = 0,
        }
        if digits > MAX_WIDTH {
            return false;
        }
        if byte == b'%' {
            size = size.saturating_add(MAX_WIDTH as usize);
        }
    }
    size <= MAX_TEXT && json_size(&args[1], MAX_TEXT - size).is_some()
}

fn shift_fits(args: &[Value]) -> bool {
    args[1].as_i64().map_or(!matches!(args[1], Value::Number(_)), |count| count.unsigned_abs() <= MAX_WIDTH)
}

fn range_fits(args: &[Value]) -> bool {
    match (&args[0], &args[1]) {
        (Value::Number(_), Value::Number(_)) => match (args[0].as_i64(), args[1].as_i64()) {
            (Ok(from), Ok(to)) => from.abs_diff(to) < MAX_ELEMENTS,
            // Fractions are the builtin's own to refuse; numbers beyond 64 bits are refused here.
            _ => [&args[0], &args[1]].iter().any(|end| end.as_f64().is_ok_and(|number| number.fract() != 0.0)),
        },
        _ => true,
    }
}

fn marshal_fits(args: &[Value]) -> bool {
    json_size(&args[0], MAX_TEXT).is_some()
}

fn number_fits(args: &[Value]) -> bool {
    text_size(&args[0]) <= MAX_WIDTH as usize
}

type Fits = fn(&[Value]) -> bool;

const BOUNDED: [(&str, Fits); 13] = [
    ("bits.lsh", shift_fits),
    ("bits.rsh", shift_fits),
    ("concat", concat_fits),
    ("json.marshal", marshal_fits),
    ("json.marshal_with_options", marshal_fits),
    ("numbers.range", range_fits),
    ("numbers.range_step", range_fits),
    ("regex.replace", regex_replace_fits),
    ("replace", replace_fits),
    ("sprintf", sprintf_fits),
    ("strings.replace_n", replace_n_fits),
    ("to_number", number_fits),
    ("units.parse", number_fits),
];

/// Puts bounded versions before the engine's own.
pub fn install(engine: &mut Engine) -> Result<()> {
    let source = Source::from_contents("builtin".to_owned(), "_".to_owned())?;
    let span = regorus::unstable::Span { source, line: 1, col: 1, start: 0, end: 1 };
    let params: Arc<Vec<Ref<Expr>>> = Arc::new(
        (0..3).map(|_| Ref::new(Expr::Null { span: span.clone(), value: Value::Null, eidx: 0 })).collect(),
    );
    for (name, fits) in BOUNDED {
        let Some(&builtin) = BUILTINS.get(name) else { return Err(anyhow!("the engine has no builtin {name}")) };
        let (call, arity): BuiltinFcn = builtin;
        let (span, params) = (span.clone(), params.clone());
        engine.add_extension(name.to_owned(), arity, Box::new(move |args: Vec<Value>| {
            if args.len() > params.len() || !fits(&args) {
                REFUSED.with(|refused| refused.set(true));
                return Err(anyhow!("the result of {name} would be too large"));
            }
            call(&span, &params[..args.len()], &args, true)
        }))?;
    }
    Ok(())
}

//! Rego by `regorus`: modules are compiled into an engine once, and each evaluation works on a copy of it, which shares
//! what was compiled.

use std::cell::RefCell;
use std::num::NonZeroU32;
use std::sync::{Mutex, Once, OnceLock};
use std::time::{Duration, Instant};

use regorus::utils::limits::{ExecutionTimerConfig, LimitError};
use regorus::{Engine, Value};

use crate::boundary::{array, guarded, Buffer, View};
use crate::explain::{Decided, Explainer, Unmet};
use crate::shape::{self, Depth, Misshapen};

const OK: i32 = 0;
const INVALID_ARGUMENT: i32 = 1;
const POLICY_INVALID: i32 = 2;
const INPUT_INVALID: i32 = 3;
const TIME_EXCEEDED: i32 = 4;
const MEMORY_EXCEEDED: i32 = 5;
const RESULT_TOO_LARGE: i32 = 6;
const EVALUATION_FAILED: i32 = 7;
const INTERNAL: i32 = 8;

/// Bytes of policies whose explainer is kept for the next time; it holds more than the policy itself.
const KEPT_EXPLAINER: usize = 16 << 10;
/// The timer looks at the clock once in so many steps.
const STEPS_BETWEEN_CLOCK_READS: NonZeroU32 = NonZeroU32::new(32).unwrap();

#[repr(C)]
pub struct ModuleView {
    name: View,
    text: View,
}

#[repr(C)]
pub struct ErrorOut {
    message: Buffer,
    module: Buffer,
    line: u32,
    column: u32,
}

/// A refusal on its way out.
#[derive(Debug)]
pub struct Failure {
    status: i32,
    message: String,
    module: String,
    line: u32,
    column: u32,
}

impl Failure {
    fn new(status: i32, message: impl Into<String>) -> Failure {
        Failure { status, message: message.into(), module: String::new(), line: 0, column: 0 }
    }

    /// Reads the position out of the engine's message, whose form is
    /// "\n--> MODULE:LINE:COLUMN\n…\nerror: TEXT".
    fn of(status: i32, error: &anyhow::Error) -> Failure {
        let status = match error.downcast_ref::<LimitError>() {
            Some(LimitError::TimeLimitExceeded { .. }) => TIME_EXCEEDED,
            Some(LimitError::MemoryLimitExceeded { .. }) => MEMORY_EXCEEDED,
            _ => status,
        };
        let text = error.to_string();
        let message = match text.rfind("error: ") {
            Some(at) => text[at + "error: ".len()..].trim(),
            None => text.trim(),
        };
        let mut failure = Failure::new(status, message.lines().next().unwrap_or_default());
        let position = text.trim_start().strip_prefix("--> ").and_then(|rest| rest.lines().next());
        if let Some(position) = position {
            let mut parts = position.rsplitn(3, ':');
            let column = parts.next().and_then(|part| part.parse().ok());
            let line = parts.next().and_then(|part| part.parse().ok());
            if let (Some(column), Some(line), Some(module)) = (column, line, parts.next()) {
                failure.line = line;
                failure.column = column;
                failure.module = module.to_owned();
            }
        }
        failure
    }
}

impl Failure {
    fn at(module: &str, what: Misshapen) -> Failure {
        Failure { status: POLICY_INVALID, message: what.message, module: module.to_owned(), line: what.line, column: what.column }
    }
}

thread_local! {
    /// What query_reference_value answers from during an evaluation of this thread.
    static REFERENCE_VALUES: RefCell<Value> = const { RefCell::new(Value::Null) };
}

/// Sets the thread's reference values for the time that it lives.
struct WithReferenceValues;

impl WithReferenceValues {
    fn new(values: Value) -> WithReferenceValues {
        REFERENCE_VALUES.with(|current| *current.borrow_mut() = values);
        WithReferenceValues
    }
}
impl Drop for WithReferenceValues {
    fn drop(&mut self) {
        REFERENCE_VALUES.with(|current| *current.borrow_mut() = Value::Null);
    }
}

fn query_reference_value(args: Vec<Value>) -> anyhow::Result<Value> {
    REFERENCE_VALUES.with(|values| {
        let found = match &*values.borrow() {
            Value::Object(members) => members.get(&args[0]).cloned(),
            _ => None,
        };
        Ok(found.unwrap_or(Value::Null))
    })
}

/// `cr_rego_policy`.
pub struct Policy {
    pub engine: Engine,
    pub entrypoints: Vec<(String, bool)>, // whether any module has such a rule
    depth: Depth,
    plain: bool,
    text_size: usize,                       // of all modules
    explainer: OnceLock<Option<Explainer>>, // of a small one: made when first asked for
    with_data: Mutex<Vec<WithData>>,        // oldest first
}

/// An engine that was analysed with the data in it, which takes longer than a small policy's evaluation.
struct WithData {
    data: String, // as it was given
    engine: Engine,
}
const MOST_WITH_DATA: usize = 8;
/// Of data that is kept: what says which resource is meant, not what somebody sends to be large.
const LARGEST_KEPT_DATA: usize = 2048;

impl Policy {
    /// A copy of the engine with that data, which evaluates at once.
    fn engine_with(&self, data: &str) -> Result<Engine, Failure> {
        if data.is_empty() {
            return Ok(self.engine.clone());
        }
        if data.len() <= LARGEST_KEPT_DATA {
            if let Ok(kept) = self.with_data.lock() {
                if let Some(found) = kept.iter().find(|one| one.data == data) {
                    return Ok(found.engine.clone());
                }
            }
        }
        let mut engine = self.engine.clone();
        add_data(&mut engine, data)?;
        if data.len() <= LARGEST_KEPT_DATA && self.text_size <= KEPT_EXPLAINER && engine.eval_query("true".to_owned(), false).is_ok() {
            if let Ok(mut kept) = self.with_data.lock() {
                if kept.len() == MOST_WITH_DATA {
                    kept.remove(0);
                }
                kept.push(WithData { data: data.to_owned(), engine: engine.clone() });
            }
        }
        Ok(engine)
    }
}

fn memory_limit_once() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        if regorus::global_memory_limit().is_none() {
            regorus::set_global_memory_limit(Some(DEFAULT_MEMORY_LIMIT));
        }
    });
}

const DEFAULT_MEMORY_LIMIT: u64 = 256 << 20;

/// Whether a text can be meant as v0: there, `if`, `in` and `every` are keywords only after an import. Without it
/// `allow if {…}` would be two rules, the first of them always true.
fn may_be_v0(name: &str, text: &str) -> bool {
    use regorus::unstable::{Lexer, Source, TokenKind};
    let Ok(source) = Source::from_contents(name.to_owned(), text.to_owned()) else { return false };
    let mut lexer = Lexer::new(&source);
    let mut keyword = false;
    while let Ok(token) = lexer.next_token() {
        match (&token.0, token.1.text()) {
            (TokenKind::Eof, _) => return !keyword,
            (TokenKind::Ident, "future") => return true,
            (TokenKind::Ident, "if" | "in" | "every") => keyword = true,
            _ => {}
        }
    }
    false
}

/// A module is read as v1; what v1 refuses and v0 means is read as v0. The error is v1's.
pub fn add_module(engine: &mut Engine, name: &str, text: &str) -> Result<(), Failure> {
    engine.set_rego_v0(false);
    let Err(v1_error) = engine.add_policy(name.to_owned(), text.to_owned()) else { return Ok(()) };
    engine.set_rego_v0(true);
    if may_be_v0(name, text) && engine.add_policy(name.to_owned(), text.to_owned()).is_ok() {
        return Ok(());
    }
    Err(Failure::of(POLICY_INVALID, &v1_error))
}

/// "data.a.b", of plain names.
fn is_rule_path(path: &str) -> bool {
    let plain = |name: &str| {
        name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
            && name.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'_')
    };
    path.strip_prefix("data.").is_some_and(|rest| rest.split('.').count() >= 2 && rest.split('.').all(plain))
}

/// Whether a module has a rule at that path, or beneath it.
fn declares(engine: &mut Engine, path: &str) -> bool {
    use regorus::unstable::{Rule, RuleHead};
    engine.get_modules().iter().any(|module| {
        let package = module.package.refr.span().text();
        let Some(wanted) = path.strip_prefix("data.").and_then(|rest| rest.strip_prefix(package)?.strip_prefix('.')) else {
            return false;
        };
        module.policy.iter().any(|rule| {
            let refr = match &**rule {
                Rule::Spec { head: RuleHead::Compr { refr, .. } | RuleHead::Set { refr, .. }, .. }
                | Rule::Default { refr, .. } => refr,
                Rule::Spec { head: RuleHead::Func { .. }, .. } => return false,
            };
            let beneath = refr.span().text().strip_prefix(wanted);
            beneath.is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
        })
    })
}

/// An engine with the builtins of ours, without modules.
pub fn new_engine() -> Result<Engine, Failure> {
    let defect = |error: anyhow::Error| Failure::of(INTERNAL, &error);
    let mut engine = Engine::new();
    engine.set_gather_prints(true); // else print writes to the process's standard error
    engine.add_extension("query_reference_value".to_owned(), 1, Box::new(query_reference_value)).map_err(defect)?;
    crate::builtins::install(&mut engine).map_err(defect)?;
    Ok(engine)
}

/// Analyses the modules now: what does not compile is refused here, and copies of the engine share the outcome.
pub fn prepare(engine: &mut Engine, entrypoints: &[(String, bool)]) -> anyhow::Result<()> {
    match entrypoints.iter().find(|(_, declared)| *declared) {
        Some((first, _)) => engine.compile_with_entrypoint(&first.as_str().into()).map(drop),
        None => engine.eval_query("true".to_owned(), false).map(drop),
    }
}

fn compile(modules: &[(&str, &str)], entrypoints: &[&str]) -> Result<Policy, Failure> {
    memory_limit_once();
    let invalid = |error: anyhow::Error| Failure::of(POLICY_INVALID, &error);
    let mut engine = new_engine()?;
    let mut depth = Depth::default();
    for (name, text) in modules {
        depth = depth.and(shape::check_text(name, text).map_err(|found| Failure::at(name, found))?);
        add_module(&mut engine, name, text)?;
    }
    depth = depth.and(shape::check_rules(&mut engine).map_err(|message| Failure::new(POLICY_INVALID, message))?);
    crate::check::check(engine.get_modules()).map_err(|found| Failure::at(&found.module, found.what))?;
    let plain = crate::plain::is_plain(engine.get_modules());
    let mut known = Vec::new();
    for entrypoint in entrypoints {
        if !is_rule_path(entrypoint) {
            return Err(Failure::new(POLICY_INVALID, format!("'{entrypoint}' is no path of a rule")));
        }
        known.push(((*entrypoint).to_owned(), declares(&mut engine, entrypoint)));
    }
    prepare(&mut engine, &known).map_err(invalid)?;
    let text_size = modules.iter().map(|(_, text)| text.len()).sum();
    Ok(Policy { engine, entrypoints: known, depth, plain, text_size, explainer: OnceLock::new(), with_data: Mutex::default() })
}

fn json(text: &str, what: &str, object: bool) -> Result<Value, Failure> {
    let value = Value::from_json_str(text).map_err(|error| {
        let mut failure = Failure::of(INPUT_INVALID, &error);
        failure.message = format!("{what}: {}", failure.message);
        failure
    })?;
    if object && value.as_object().is_err() {
        return Err(Failure::new(INPUT_INVALID, format!("{what}: a JSON object expected")));
    }
    Ok(value)
}

fn object(text: &str, what: &str) -> Result<Value, Failure> {
    if text.is_empty() {
        Ok(Value::Undefined)
    } else {
        json(text, what, true)
    }
}

fn add_data(engine: &mut Engine, data: &str) -> Result<(), Failure> {
    engine.add_data(object(data, "data")?).map_err(|error| Failure::of(INPUT_INVALID, &error))
}

/// A writer that refuses to grow beyond its limit.
struct Bounded {
    bytes: Vec<u8>,
    limit: usize,
}
impl std::io::Write for Bounded {
    fn write(&mut self, more: &[u8]) -> std::io::Result<usize> {
        if more.len() > self.limit - self.bytes.len() {
            return Err(std::io::ErrorKind::FileTooLarge.into());
        }
        self.bytes.extend_from_slice(more);
        Ok(more.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn evaluation_failure(error: &anyhow::Error) -> Failure {
    let mut failure = Failure::of(EVALUATION_FAILED, error);
    if crate::builtins::take_refused() {
        failure.status = MEMORY_EXCEEDED;
    }
    failure
}

/// What an evaluation is given beside the policy.
struct Given<'a> {
    input: Value,
    data: &'a str, // an object in JSON, or nothing
    limit: Duration,
}

type Results = Vec<(String, Value)>;

fn results_of(mut engine: Engine, entrypoints: &[(String, bool)], given: &Given) -> Result<Results, Failure> {
    crate::builtins::take_refused();
    let begin = Instant::now();
    engine.set_input(given.input.clone());
    let mut results = Vec::new();
    for (entrypoint, declared) in entrypoints {
        if *declared {
            // All of them share one limit: the engine's timer begins anew with each.
            let limit = given.limit.saturating_sub(begin.elapsed());
            engine.set_execution_timer_config(ExecutionTimerConfig { limit, check_interval: STEPS_BETWEEN_CLOCK_READS });
            let value = engine.eval_rule(entrypoint.clone()).map_err(|error| evaluation_failure(&error))?;
            if value != Value::Undefined {
                results.push((entrypoint.clone(), value));
            }
        }
    }
    Ok(results)
}

/// An object of results, as JSON of at most so many bytes: values may be far larger than what holds them.
fn written(results: &Results, limit: usize) -> Result<Vec<u8>, Failure> {
    struct Members<'a>(&'a Results);
    impl serde::Serialize for Members<'_> {
        fn serialize<S: serde::Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
            out.collect_map(self.0.iter().map(|(entrypoint, value)| (entrypoint, value)))
        }
    }
    to_json(&Members(results), limit)
}

fn to_json(value: &impl serde::Serialize, limit: usize) -> Result<Vec<u8>, Failure> {
    let mut out = Bounded { bytes: Vec::new(), limit };
    match serde_json::to_writer(&mut out, value) {
        Ok(()) => Ok(out.bytes),
        Err(error) if error.is_io() => Err(Failure::new(RESULT_TOO_LARGE, format!("more than {limit} bytes"))),
        Err(error) => Err(Failure::new(EVALUATION_FAILED, error.to_string())),
    }
}

/// What the explainer says, where it comes to the same results.
fn explain_results(
    policy: &Policy, explainer: Option<&Explainer>, given: &Given, results: &[u8], max_result: usize,
) -> Option<(Vec<Decided>, Vec<Unmet>)> {
    let explainer = explainer?;
    explainer
        .record(|| {
            let mut engine = explainer.engine().clone();
            if !given.data.is_empty() {
                add_data(&mut engine, given.data)?;
            }
            written(&results_of(engine, &policy.entrypoints, given)?, max_result)
        })
        .filter(|(again, _)| again == results)
        .map(|(_, recorded)| (explainer.decided(&recorded), explainer.unmet(&recorded)))
}

fn evaluate(
    policy: &Policy, given: &Given, reference_values: Value, explain: bool, max_result: usize,
) -> Result<Vec<u8>, Failure> {
    let _values = WithReferenceValues::new(reference_values);
    let results = results_of(policy.engine_with(given.data)?, &policy.entrypoints, given)?;
    let results = written(&results, max_result)?;
    let explained = match (explain, policy.text_size <= KEPT_EXPLAINER) {
        (false, _) => None,
        (true, true) => {
            let explainer = policy.explainer.get_or_init(|| Explainer::of(policy)).as_ref();
            explain_results(policy, explainer, given, &results, max_result)
        }
        (true, false) => explain_results(policy, Explainer::of(policy).as_ref(), given, &results, max_result),
    };
    let mut out = [b"{\"results\":", &results[..]].concat();
    if let Some((rules, unmet)) = explained {
        for (name, member) in [("rules", to_json(&rules, max_result)?), ("unmet", to_json(&unmet, max_result)?)] {
            out.extend_from_slice(format!(",\"{name}\":").as_bytes());
            out.extend_from_slice(&member);
        }
    }
    out.push(b'}');
    if out.len() > max_result {
        return Err(Failure::new(RESULT_TOO_LARGE, format!("more than {max_result} bytes")));
    }
    Ok(out)
}

/// # Safety
/// `error` is null or writable.
unsafe fn finish(failure: Failure, error: *mut ErrorOut) -> i32 {
    if !error.is_null() {
        let out = ErrorOut {
            message: Buffer::of(failure.message.into_bytes()),
            module: Buffer::of(failure.module.into_bytes()),
            line: failure.line,
            column: failure.column,
        };
        unsafe { error.write(out) };
    }
    failure.status
}

/// Runs it on a thread with a stack for any policy that is accepted.
fn on_large_stack<T: Send>(work: impl FnOnce() -> Result<T, Failure> + Send) -> Result<T, Failure> {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().stack_size(shape::STACK).spawn_scoped(scope, || guarded(work));
        match thread.map(|running| running.join()) {
            Ok(Ok(Some(result))) => result,
            Ok(_) => panicked(),
            Err(_) => Err(Failure::new(INTERNAL, "no thread for the policy could be started")),
        }
    })
}

fn panicked<T>() -> Result<T, Failure> {
    Err(Failure::new(INTERNAL, "the policy engine failed"))
}
fn argument(what: &str) -> Failure {
    Failure::new(INVALID_ARGUMENT, what)
}

#[no_mangle]
pub extern "C" fn cr_set_memory_limit(bytes: u64) {
    guarded(|| {
        memory_limit_once();
        regorus::set_global_memory_limit(Some(bytes));
    });
}

#[no_mangle]
pub unsafe extern "C" fn cr_rego_compile(
    modules: *const ModuleView, module_count: usize, entrypoints: *const View, entrypoint_count: usize,
    out: *mut *mut Policy, error: *mut ErrorOut,
) -> i32 {
    let result = guarded(|| {
        if out.is_null() {
            return Err(argument("no place for the policy"));
        }
        let views = unsafe { array(modules, module_count) }.ok_or_else(|| argument("modules"))?;
        let names = unsafe { array(entrypoints, entrypoint_count) }.ok_or_else(|| argument("entrypoints"))?;
        let mut texts = Vec::new();
        for view in views {
            let name = unsafe { view.name.text() }.ok_or_else(|| argument("a module's name is not UTF-8"))?;
            texts.push((name, unsafe { view.text.text() }.ok_or_else(|| argument("a module is not UTF-8"))?));
        }
        let mut rules = Vec::new();
        for name in names {
            rules.push(unsafe { name.text() }.ok_or_else(|| argument("an entrypoint is not UTF-8"))?);
        }
        on_large_stack(|| compile(&texts, &rules))
    })
    .unwrap_or_else(panicked);
    match result {
        Ok(policy) => {
            unsafe { out.write(Box::into_raw(Box::new(policy))) };
            OK
        }
        Err(failure) => unsafe { finish(failure, error) },
    }
}

/// A value that was read once, for many evaluations.
pub struct Document(Value);

#[no_mangle]
pub unsafe extern "C" fn cr_rego_document_read(text: View, out: *mut *mut Document, error: *mut ErrorOut) -> i32 {
    let result = guarded(|| {
        memory_limit_once();
        if out.is_null() {
            return Err(argument("no place for the document"));
        }
        let text = unsafe { text.text() }.ok_or_else(|| argument("the document is not UTF-8"))?;
        json(text, "document", false).map(Document)
    })
    .unwrap_or_else(panicked);
    match result {
        Ok(document) => {
            unsafe { out.write(Box::into_raw(Box::new(document))) };
            OK
        }
        Err(failure) => unsafe { finish(failure, error) },
    }
}

#[no_mangle]
pub unsafe extern "C" fn cr_rego_document_free(document: *mut Document) {
    if !document.is_null() {
        guarded(|| drop(unsafe { Box::from_raw(document) }));
    }
}

#[no_mangle]
pub unsafe extern "C" fn cr_rego_evaluate(
    policy: *const Policy, known_input: *const Document, input: View, data: View, reference_values: View,
    time_limit_us: u64, explain: i32, max_result_size: usize, out: *mut Buffer, error: *mut ErrorOut,
) -> i32 {
    let result = guarded(|| {
        let policy = unsafe { policy.as_ref() }.ok_or_else(|| argument("no policy"))?;
        if out.is_null() {
            return Err(argument("no place for the result"));
        }
        let text = |view: View, what: &str| unsafe { view.text() }.ok_or_else(|| argument(what));
        let input = match unsafe { known_input.as_ref() } {
            Some(known) => known.0.clone(),
            None => json(text(input, "the input is not UTF-8")?, "input", false)?,
        };
        let given = Given { input, data: text(data, "data is not UTF-8")?, limit: Duration::from_micros(time_limit_us) };
        let values = object(text(reference_values, "the reference values are not UTF-8")?, "reference values")?;
        let work = || evaluate(policy, &given, values, explain != 0, max_result_size);
        if policy.depth.is_small() && (explain == 0 || policy.explainer.get().is_some()) {
            work()
        } else {
            on_large_stack(work)
        }
    })
    .unwrap_or_else(panicked);
    match result {
        Ok(bytes) => {
            unsafe { out.write(Buffer::of(bytes)) };
            OK
        }
        Err(failure) => unsafe { finish(failure, error) },
    }
}

#[no_mangle]
pub unsafe extern "C" fn cr_rego_is_plain(policy: *const Policy) -> i32 {
    i32::from(unsafe { policy.as_ref() }.is_some_and(|policy| policy.plain))
}

#[no_mangle]
pub unsafe extern "C" fn cr_rego_free(policy: *mut Policy) {
    if !policy.is_null() {
        guarded(|| drop(unsafe { Box::from_raw(policy) }));
    }
}

#[no_mangle]
pub unsafe extern "C" fn cr_rego_error_free(error: *mut ErrorOut) {
    if let Some(error) = unsafe { error.as_mut() } {
        guarded(|| unsafe {
            error.message.release();
            error.module.release();
        });
    }
}

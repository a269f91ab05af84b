//! What Cloister takes from the Rust registry, behind one C ABI (`include/cloister_rust`). One module a subject;
//! `boundary` has what keeps the ABI safe: views are checked before they become slices, and panics end here.

mod boundary;
mod builtins;
mod check;
mod ecdsa;
mod explain;
mod plain;
mod rego;
mod shape;
mod visit;

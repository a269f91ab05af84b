#include "cloister/rego/isolation.hpp"

int main() { return cloister::rego::serve_evaluations(3); }

// Package pii finds personal data and secrets in text and decides what is stored instead. It knows nothing of spans:
// text and the name of its place go in, text and a verdict come out. processors/piiprocessor walks the spans.
//
// # How it works
//
// Compile turns a Config into Rules, which never change afterwards and may be shared by any number of goroutines.
// Each goroutine uses its own Scanner. A string is read once by a prefilter (prefilter.go): a table of byte classes
// that names the few positions at which a detector could match, by four bytes of context. Only there does the
// detector look closer. Clean text therefore costs one table look-up per byte and allocates nothing.
//
// Attribute keys are judged once and remembered (key.go); the outcome of texts that needed a closer look is
// remembered too (cache.go). Both memories are bounded and lock-free.
//
// # Invariants
//
//   - Time is linear in the length of the text, whatever the text and the rules. Detectors look at a bounded
//     neighbourhood of a candidate or continue behind what they have read; regular expressions of the user run under
//     a budget, and a text that exhausts it is treated as one match of that rule. Scanner.Examined counts the bytes.
//   - What a rule has put in place of a finding is not found again: a second pass changes nothing. Compile refuses
//     replacement texts for which this does not hold.
//   - In report mode (the caller ignores the new text) the same findings are counted.
//   - Nothing of a finding but its shape (letters as a, digits as 9) leaves the package.
//
// # Statements
//
// SQL goes through the lexer of github.com/DataDog/go-sqllexer. For Redis and for the JSON-like statements of MongoDB,
// Elasticsearch and OpenSearch we have obfuscators of our own (statement_json.go, statement_command.go): the maintained
// library for them keeps parser state that forbids sharing, gives up on anything but strict JSON, which many
// instrumentations do not write, and brings a cache with goroutines of its own.
package pii

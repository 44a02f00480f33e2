// Package traceql is the query language of Grafana Tempo 3.0.3 (contract sections 4 to 6), written from its described
// behaviour, with the arithmetic between metrics queries that 3.1 adds.
//
//	lexer   text to tokens
//	ast     the tree, its printer and static validation
//	parser  tokens to the tree; lenient parsing for the tag endpoints
//	plan    the tree to what execution has to do: conditions on columns, what a second pass needs, aggregation
//	exec    runs a plan over store.View
//
// This package holds the entry points: Parse (with validation), Compile to a plan, and FromTags, which makes a plan
// of the `tags=` form of search (S-02). A query parses and plans once; a plan is immutable and can be run by many
// goroutines at once.
//
//	q, err := traceql.Compile(`{ resource.service.name = "shop" && status = error }`)
//	res, err := exec.Search(ctx, view, q, exec.SearchOptions{Limit: 20, Start: start, End: end})
//
// Errors of Parse and Compile are safe to show to users. They are *parser.Error for syntax, with line and column, and
// plain errors from validation. The prefix that an endpoint puts before them is the endpoint's business (S-01).
//
// What an answer holds is decided by the contract. Where Tempo and the contract's reading differ (lines marked [X]),
// the contract's reading is implemented; docs/traceql.md lists everything with examples.
package traceql

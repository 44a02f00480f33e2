// Package parser turns the text of a TraceQL query into an ast.Query.
//
// It is a hand-written recursive-descent parser with precedence climbing (contract 4.2, 4.3). Field expressions, which
// stand in braces, and spanset expressions are parsed by two climbers over one table of precedences. What a bracket
// holds, spans, a pipeline, a scalar or a metrics query, is known only at its end; so the outer climber works on
// operands of all these sorts and says what does not fit together when it joins two of them.
//
// Every error is an *Error with a position and a reason for people (L-50). Text is limited to MaxBytes (S-01) and
// nesting to maxDepth; within these limits time and memory are linear.
//
// Lenient reads what can be read of an unfinished filter, for the tag endpoints (G-20 to G-23).
package parser

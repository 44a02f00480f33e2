// Package gathered is a store.View over spans that were brought together from several stores: fragments of traces that
// no store has whole. A query that needs whole traces is run over it as over any other view.
//
// Merge removes what was stored twice: of spans with equal trace id, span id and kind the one with more attributes
// stays, because a node that enriches adds to a span and never takes away. It orders spans by trace, then start, then
// id, and makes equal resources and scopes one. The strings of the fragments are kept, not copied.
//
// A search reads some columns only. Then these are brought together (Columns), and a ColumnView has the spans in the same
// order. Which of two copies has more attributes columns do not say: there whole spans are needed (ErrCopies).
//
// A View has one part, holds what Merge returns and reads columns row by row: it is made for some thousand traces that
// live as long as one query. It is immutable and safe for concurrent use.
package gathered

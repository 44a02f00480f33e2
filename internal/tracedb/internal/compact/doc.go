// Package compact decides which blocks of a store are merged, and how: Plan picks blocks, Merge says which row groups of
// them are copied and which traces are read and written anew, Align orders those so that row groups end with a trace.
// It is pure: descriptions in, plans out. Who merges is package tracedb.
//
// # Levels
//
// Heads become blocks of level 0. Blocks of one hour are merged to level 1, those of one UTC day to level 2. A block is
// never merged below its level and level 2 is the last, so that a span is written three times at most. Spans of
// different days never get into one block, so that retention by age can drop whole blocks.
//
// # Copying
//
// A row group can be copied if none of its traces is in another input, none is hidden, and none goes on in a row group
// that is not copied. Traces that are in two blocks were cut by a head, so they are at the edges of blocks: most of a
// block can be copied, provided that its row groups end with a trace.
package compact

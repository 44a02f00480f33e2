// Package head keeps the newest spans in memory as columns that are only ever appended to.
//
// # Layout
//
// A Head owns dense columns for the fields that every span has (ids, times, kind, status, name, references), one typed
// column per (scope, key, type) for attributes, whose entries are (row, value), tables of distinct resources and
// scopes, and tables of events and links with attribute columns of their own. Strings are interned per column. At
// most Options.MaxColumns attribute columns exist; attributes beyond that, and second occurrences of a key in one
// list, go to an overflow list per table, so that nothing is lost.
//
// # Memory model
//
// One appender at a time (Head.mu). Readers take no lock on rows. They rely on this order, where every step by the
// appender is an atomic store after plain writes and every step by a reader an atomic load before plain reads:
//
//  1. Values are written to chunks at positions that no reader looks at yet. A chunk that has readers is never
//     written at an old position; a directory of chunks is replaced, never changed (chunks.dir).
//  2. Dictionary entries are written before the hash slot that leads to them (dict.table) and before dict.n; resources
//     and scopes before refTable.n.
//  3. Column lengths (column.n, overflow length) are stored once per Append.
//  4. The snapshot (row count, time range) is stored last.
//
// A reader loads the snapshot first, once per Part, and everything else later. So whatever it loads is at least as
// new as its row count, and it ignores entries of rows at or above that count. Maps from names to columns are guarded
// by attrTable.mu, because Go maps cannot be read while they grow.
//
// # Accounting
//
// Every allocation that lives as long as the head is added to a meter when it is made; Head.Bytes is the sum.
// The catalogue of attributes is not: it has at most maxCounted counts a column and is made for queries only.
package head

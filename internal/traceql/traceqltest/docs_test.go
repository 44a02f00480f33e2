package traceqltest

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// docsFile is generated from the corpus by running this package's tests with -update.
const docsFile = "../../../docs/traceql.md"

// topics gives the contract lines that stand in the table their names, in its order.
var topics = []struct{ id, what string }{
	{"E-01", "filters; a trace is evaluated as a whole"},
	{"E-02", "scopes: span, resource, event, link, instrumentation"},
	{"E-03", "unscoped attributes"},
	{"E-04", "intrinsics"},
	{"E-05", "nested-set numbers"},
	{"E-06", "values that queries cannot look into"},
	{"X-17", "every resource has a service name, if an empty one"},
	{"E-10", "comparison with a missing attribute"},
	{"E-11", "negation"},
	{"E-12", "values of another type"},
	{"E-13", "integers and floats"},
	{"E-14", "durations and numbers"},
	{"E-15", "order of strings"},
	{"E-16", "regular expressions"},
	{"E-17", "bare booleans"},
	{"E-18", "not, on values that are no booleans"},
	{"E-19", "nil: existence"},
	{"E-20", "the string nil"},
	{"E-21", "attribute against attribute"},
	{"E-22", "arrays: any element"},
	{"E-23", "arrays: no element"},
	{"E-24", "several values of an array, any or none"},
	{"E-25", "arithmetic on arrays matches nothing"},
	{"E-26", "arithmetic"},
	{"E-27", "powers"},
	{"E-28", "status and kind are compared by identity"},
	{"L-20", "&& and || bind equally"},
	{"L-21", "structural operators and &&, ||"},
	{"L-22", "the unary minus"},
	{"L-23", "chains of comparisons"},
	{"L-03", "minInt and maxInt"},
	{"L-49", "constants are folded"},
	{"E-40", "both sides exist"},
	{"E-41", "either side exists"},
	{"E-42", "child"},
	{"E-43", "parent"},
	{"E-44", "descendant"},
	{"E-45", "ancestor"},
	{"E-46", "sibling"},
	{"E-47", "negated structural operators"},
	{"E-48", "union structural operators"},
	{"E-49", "structural operators result in their right side"},
	{"E-50", "structural operators after by()"},
	{"E-60", "pipelines"},
	{"E-61", "by()"},
	{"E-62", "coalesce()"},
	{"E-63", "aggregates"},
	{"E-64", "select()"},
	{"E-65", "pipelines without a first filter"},
	{"E-80", "hints"},
	{"E-81", "sampling hints: taken, the answer is exact"},
	{"E-82", "the exemplars hint"},
	{"E-83", "hints that nobody knows"},
	{"X-01", "metrics count spans by their start"},
	{"X-02", "buckets are closed at their end"},
	{"X-03", "ranges are aligned to the step"},
	{"X-45", "instant queries"},
	{"X-10", "count_over_time()"},
	{"X-11", "rate()"},
	{"X-12", "min, max, avg and sum over time"},
	{"X-13", "histogram_over_time()"},
	{"X-14", "quantile_over_time()"},
	{"X-15", "by() of metrics"},
	{"X-16", "typed labels"},
	{"X-18", "labels without groups"},
	{"X-30", "topk() and bottomk()"},
	{"X-31", "comparison of values"},
	{"X-32", "arithmetic between metrics (Tempo 3.1)"},
	{"X-50", "compare()"},
	{"X-51", "compare() keeps the commonest values"},
	{"X-52", "compare() flags attributes with more"},
	{"G-20", "unfinished filters of tag requests"},
	{"V-08", "filtered tag values"},
}

// TestDocs keeps docs/traceql.md equal to what the corpus says.
func TestDocs(t *testing.T) {
	scripts, err := Scripts()
	if err != nil {
		t.Fatal(err)
	}
	text := document(t, scripts)
	if *update {
		if err := os.MkdirAll(filepath.Dir(docsFile), 0o750); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(docsFile, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	have, err := os.ReadFile(docsFile)
	if err != nil {
		t.Fatal(err)
	}
	if string(have) != text {
		t.Errorf("%s does not say what the corpus says: run the tests of this package with -update", docsFile)
	}
}

func document(t *testing.T, scripts []*Script) string {
	t.Helper()
	var b strings.Builder
	b.WriteString(docsHead)
	for _, topic := range topics {
		c := example(scripts, topic.id)
		if c == nil {
			t.Errorf("no case of the corpus cites %s", topic.id)
			continue
		}
		n := 0
		for _, s := range scripts {
			for i := range s.Cases {
				if cites(&s.Cases[i], topic.id) {
					n++
				}
			}
		}
		query := c.Query
		if c.Verb == "names" || c.Verb == "values" {
			query = c.Verb + " of " + c.Args[0] + " where " + query
		}
		fmt.Fprintf(&b, "| %s | %s | `%s` | %d |\n", topic.id, cell(topic.what), cell(query), n)
	}
	b.WriteString(docsTail)
	return b.String()
}

// example is the last case for an id that is answered: later cases show more.
func example(scripts []*Script, id string) *Case {
	var found *Case
	for _, s := range scripts {
		for i := range s.Cases {
			c := &s.Cases[i]
			plain := c.Query != "" && !slices.Equal(c.Want, []string{"none"}) && !strings.HasPrefix(c.Want[0], "error")
			if cites(c, id) && plain && (found == nil || len(c.Query) < 90) {
				found = c
			}
		}
	}
	return found
}

func cites(c *Case, id string) bool { return slices.Contains(strings.Split(c.IDs, ","), id) }

// cell escapes what would end a cell of a table.
func cell(s string) string { return strings.ReplaceAll(s, "|", `\|`) }

const docsHead = `# TraceQL

Bramble answers the whole query language of Grafana Tempo 3.0.3, and the arithmetic between metrics queries that 3.1 adds.
This page is generated from the test corpus (internal/traceql/traceqltest/scripts): every line stands for cases that run
against a plain reference store, the head, blocks and mixtures of them, and must have one answer.

| contract | what | example | cases |
|---|---|---|---|
`

const docsTail = `
## Where we differ from Tempo on purpose

- A search returns the newest traces that match, with or without ` + "`most_recent`" + `.
- ` + "`!(…)`" + ` is true where the inner condition is false, also for spans that lack the attribute.
- Integers and floats are compared as numbers, for attributes too.
- ` + "`!=` and `!~`" + ` on an array ask that no element is equal or matches.
- An integer division by zero matches nothing instead of failing the query.
- Integer powers are computed with the operands in their written order.
- ` + "`1s < duration`" + ` is the same as ` + "`duration > 1s`" + `.
- compare() counts an attribute once, also if the filter mentions it.
- ` + "`span:childCount`" + ` works.
- Ties in topk() and bottomk() go to the lower labels.
- compare() also counts attributes of events and links. Of an attribute with very many values (more than 10,000, or more than 1,024 in a row group
  of a block) those may be left out that fewer than about one in 200 of its spans have; the totals have all.

## What we added

With [sampling](sampling.md) by the store there are two intrinsics, named so that they cannot clash with Tempo's. Both can be
compared with nil, which they are until something was decided.

- ` + "`trace:brambleDecision`" + ` is "kept" or "dropped": what was decided about the trace when it left the recent window.
- ` + "`trace:bramblePolicy`" + ` is the name of the policy that decided; nil also if none did.

## What to know

- && and || bind equally, from left to right: use brackets.
- Conditions on events that are joined by && must hold for one and the same event, and so for links. Negated ones ask
  that no event has the value.
- Siblings are numbered in the order of their arrival, in blocks in the order of their starts.
- In metrics, ` + "`nestedSetParent < 0`" + ` means that a span has no parent, also in traces without numbering (more than two
  spans with one id), and also of a server's span that shares its id with its client's.
- A search looks for matching spans up to one hour outside of its time range, in traces that overlap it.
- Syntax errors say line and column; validation errors name the types of both sides.
- A query that needs more memory than its budget, or whose client is gone, ends with an error that says so.
`

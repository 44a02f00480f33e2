package traceqltest

import (
	"flag"
	"os"
	"testing"

	"github.com/bramble-tracing/bramble/internal/store"
	"github.com/bramble-tracing/bramble/internal/store/oracle"
)

var update = flag.Bool("update", false, "rewrite what scripts and documents expect")

// oracleView loads spans into the oracle, cut into parts of some rows.
func oracleView(tb testing.TB, b *store.Batch, partRows int) store.View {
	tb.Helper()
	s := oracle.New(partRows)
	if err := s.Append(tb.Context(), b); err != nil {
		tb.Fatal(err)
	}
	v, err := s.View()
	if err != nil {
		tb.Fatal(err)
	}
	return v
}

func TestScripts(t *testing.T) {
	if *update {
		updateScripts(t)
		return
	}
	for name, rows := range map[string]int{"one part": 0, "parts of 1": 1, "parts of 2": 2, "parts of 5": 5} {
		t.Run(name, func(t *testing.T) {
			RunScripts(t, name, func(b *store.Batch) store.View { return oracleView(t, b, rows) })
		})
	}
}

func TestScriptsCoverEnough(t *testing.T) {
	scripts, err := Scripts()
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, s := range scripts {
		n += len(s.Cases)
		for _, c := range s.Cases {
			if len(c.Want) == 0 {
				t.Errorf("%s:%d expects nothing, not even none", s.Name, c.Line)
			}
		}
	}
	if n < 500 {
		t.Errorf("%d cases, want at least 500", n)
	}
}

func updateScripts(t *testing.T) {
	t.Helper()
	scripts, err := Scripts()
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range scripts {
		view := oracleView(t, s.Batch, 0)
		for i := range s.Cases {
			s.Cases[i].Want = s.Cases[i].Eval(t.Context(), view)
		}
		if err := os.WriteFile(s.Name, []byte(s.Text()), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

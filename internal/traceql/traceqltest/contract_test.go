package traceqltest

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// required are the lines of the compatibility contract, sections 4 to 6, that must or should hold. Lines that name a quirk
// of the peer, of which we do something else, are among them.
var required = []struct {
	letter string
	ranges [][2]int
}{
	{"L", [][2]int{{1, 8}, {20, 23}, {40, 50}}},
	{"E", [][2]int{{1, 6}, {10, 28}, {40, 50}, {60, 65}, {80, 83}}},
	{"X", [][2]int{{1, 3}, {10, 18}, {30, 32}, {40, 41}, {45, 45}, {50, 53}}},
}

// TestContractIsCited fails if a line of the contract has no test that names it.
func TestContractIsCited(t *testing.T) {
	cited := map[string]bool{}
	id := regexp.MustCompile(`\b[LEX]-[0-9]{2}\b`)
	span := regexp.MustCompile(`\b([LEX])-([0-9]{2}) to [LEX]-([0-9]{2})\b`) // "X-01 to X-03" is no proof for X-02.
	for _, dir := range []string{"..", "../../query", "../../tempoapi"} {
		err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			tests := strings.HasSuffix(path, "_test.go") || filepath.Ext(path) == ".txt"
			if err != nil || d.IsDir() || !tests || d.Name() == "contract_test.go" {
				return err
			}
			b, err := os.ReadFile(path) //nolint:gosec // A file of ours.
			if err != nil {
				return err
			}
			for _, m := range id.FindAllString(span.ReplaceAllString(string(b), ""), -1) {
				cited[m] = true
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	n := 0
	for _, r := range required {
		for _, in := range r.ranges {
			for k := in[0]; k <= in[1]; k++ {
				n++
				if line := fmt.Sprintf("%s-%02d", r.letter, k); !cited[line] {
					t.Errorf("no test names %s of the contract", line)
				}
			}
		}
	}
	t.Logf("%d lines of the contract, each named by a test", n)
}

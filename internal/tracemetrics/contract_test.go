package tracemetrics

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// required are the lines of the compatibility contract, section 7: span metrics, service graph, shipping.
var required = [][2]int{{1, 8}, {20, 30}, {40, 44}}

// TestContractIsCited fails if a line of the contract has no test that names it.
func TestContractIsCited(t *testing.T) {
	cited := map[string]bool{}
	id := regexp.MustCompile(`\bN-[0-9]{2}\b`)
	span := regexp.MustCompile(`\bN-[0-9]{2} to N-[0-9]{2}\b`) // "N-22 to N-26" is no proof for N-23.
	for _, dir := range []string{".", "../../components/tracemetricsconnector", "../../test/e2e"} {
		err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			if d != nil && d.IsDir() && d.Name() == "node_modules" {
				return fs.SkipDir
			}
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
		require.NoError(t, err)
	}
	for _, in := range required {
		for k := in[0]; k <= in[1]; k++ {
			if line := fmt.Sprintf("N-%02d", k); !cited[line] {
				t.Errorf("no test names %s of the contract", line)
			}
		}
	}
}

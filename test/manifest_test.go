package test

import (
	"encoding/json"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"
)

// manifestModule is one line of a manifest of ocb, the Collector's builder.
type manifestModule struct {
	GoMod  string `yaml:"gomod"`
	Import string `yaml:"import"`
}

// path returns the import path of the component.
func (m manifestModule) path() string {
	if m.Import != "" {
		return m.Import
	}
	name, _, _ := strings.Cut(m.GoMod, " ")
	return name
}

// manifest is builder-config.yaml as ocb reads it.
type manifest struct {
	Dist       map[string]string `yaml:"dist"`
	Telemetry  manifestModule    `yaml:"telemetry"`
	Extensions []manifestModule  `yaml:"extensions"`
	Receivers  []manifestModule  `yaml:"receivers"`
	Processors []manifestModule  `yaml:"processors"`
	Exporters  []manifestModule  `yaml:"exporters"`
	Connectors []manifestModule  `yaml:"connectors"`
	Providers  []manifestModule  `yaml:"providers"`
}

func (m manifest) components() []manifestModule {
	return slices.Concat([]manifestModule{m.Telemetry}, m.Extensions, m.Receivers, m.Processors, m.Exporters, m.Connectors)
}

func readManifest(t *testing.T, file string) manifest {
	t.Helper()
	f, err := os.Open(file)
	require.NoError(t, err)
	defer f.Close()
	var m manifest
	dec := yaml.NewDecoder(f)
	dec.KnownFields(true)
	require.NoError(t, dec.Decode(&m), "%s", file)
	require.NotEmpty(t, m.Receivers, "%s", file)
	return m
}

// fullOnly lists what the slim distribution leaves out: resource_detection brings the SDKs of all clouds, a third of
// the binary.
var fullOnly = []string{"github.com/open-telemetry/opentelemetry-collector-contrib/processor/resourcedetectionprocessor"}

// TestManifestVersions compares the versions in both manifests with those that go.mod builds with.
func TestManifestVersions(t *testing.T) {
	out, err := exec.CommandContext(t.Context(), "go", "mod", "edit", "-json", "../go.mod").Output()
	require.NoError(t, err)
	var mod struct {
		Require []struct{ Path, Version string }
	}
	require.NoError(t, json.Unmarshal(out, &mod))
	versions := map[string]string{}
	for _, r := range mod.Require {
		versions[r.Path] = r.Version
	}
	for _, file := range []string{"../builder-config.yaml", "../builder-config.slim.yaml"} {
		m := readManifest(t, file)
		for _, c := range slices.Concat(m.components(), m.Providers) {
			name, version, found := strings.Cut(c.GoMod, " ")
			require.True(t, found, "%s: %q needs a version", file, c.GoMod)
			if name == module {
				assert.Equal(t, "v0.0.0", version, "%s: our own components have no version", file)
				continue
			}
			assert.Equal(t, versions[name], version, "%s: %s", file, name)
		}
	}
}

// TestManifestSlim compares the slim manifest with the full one: the same but for what fullOnly lists.
func TestManifestSlim(t *testing.T) {
	full, slim := readManifest(t, "../builder-config.yaml"), readManifest(t, "../builder-config.slim.yaml")
	assert.NotEqual(t, full.Dist["output_path"], slim.Dist["output_path"])
	for _, m := range []*manifest{&full, &slim} {
		delete(m.Dist, "output_path")
		delete(m.Dist, "description")
	}
	removed := 0
	full.Processors = slices.DeleteFunc(full.Processors, func(c manifestModule) bool {
		if slices.Contains(fullOnly, c.path()) {
			removed++
			return true
		}
		return false
	})
	assert.Equal(t, len(fullOnly), removed, "processors of the full distribution that the slim one leaves out")
	assert.Equal(t, full, slim)
}

// TestManifestGenerated compares the factories in the generated components.go with the manifest, so that an edit of one
// without the other fails before anybody regenerates.
func TestManifestGenerated(t *testing.T) {
	raw, err := os.ReadFile("../cmd/bramble/components.go")
	require.NoError(t, err)
	imports := map[string]bool{}
	for _, m := range regexp.MustCompile(`(?m)^\t\w+ "([^"]+)"$`).FindAllStringSubmatch(string(raw), -1) {
		imports[m[1]] = true
	}
	m := readManifest(t, "../builder-config.yaml")
	require.NotEmpty(t, imports)
	for _, c := range m.components() {
		assert.True(t, imports[c.path()], "cmd/bramble/components.go does not have %s: run make generate", c.path())
	}
}

package rendered

import (
	"path"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"

	"github.com/bramble-tracing/bramble/test/harness"
)

// Overlay builds a directory of manifests/overlays.
func Overlay(t testing.TB, name string) []*unstructured.Unstructured {
	t.Helper()
	return kustomize(t, filesys.MakeFsOnDisk(), harness.Root(t, "manifests", "overlays", name))
}

// Directory builds a directory of manifests, such as doctor.
func Directory(t testing.TB, path ...string) []*unstructured.Unstructured {
	t.Helper()
	return kustomize(t, filesys.MakeFsOnDisk(), harness.Root(t, append([]string{"manifests"}, path...)...))
}

// Components builds manifests/base with components of manifests/components on top, in their order, and then patches in
// the form of kustomize's `patches`.
func Components(t testing.TB, components []string, patches ...string) []*unstructured.Unstructured {
	t.Helper()
	var text strings.Builder
	text.WriteString("resources: [../../base]\n")
	if len(components) > 0 {
		text.WriteString("components: [../../components/" + strings.Join(components, ", ../../components/") + "]\n")
	}
	if len(patches) > 0 {
		text.WriteString("patches:\n" + strings.Join(patches, ""))
	}
	root := harness.Root(t, "manifests")
	mem := copyTree(t, root, harness.Root(t, "docs", "grafana"))
	dir := path.Join(root, "overlays", "test")
	require.NoError(t, mem.MkdirAll(dir))
	require.NoError(t, mem.WriteFile(path.Join(dir, "kustomization.yaml"), []byte(text.String())))
	return kustomize(t, mem, dir)
}

// copyTree reads directories into a file system in memory, so that a kustomization can be added beside the tree's.
func copyTree(t testing.TB, dirs ...string) filesys.FileSystem {
	t.Helper()
	disk, mem := filesys.MakeFsOnDisk(), filesys.MakeFsInMemory()
	for _, dir := range dirs {
		files, err := disk.Glob(path.Join(dir, "*"))
		require.NoError(t, err)
		for len(files) > 0 {
			name := files[0]
			files = files[1:]
			if disk.IsDir(name) {
				below, err := disk.Glob(path.Join(name, "*"))
				require.NoError(t, err)
				files = append(files, below...)
				continue
			}
			text, err := disk.ReadFile(name)
			require.NoError(t, err)
			require.NoError(t, mem.WriteFile(name, text))
		}
	}
	return mem
}

func kustomize(t testing.TB, fs filesys.FileSystem, dir string) []*unstructured.Unstructured {
	t.Helper()
	built, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(fs, dir)
	require.NoError(t, err, dir)
	var out []*unstructured.Unstructured
	for _, r := range built.Resources() {
		m, err := r.Map()
		require.NoError(t, err)
		out = append(out, normalise(t, m))
	}
	require.NotEmpty(t, out, dir)
	return out
}

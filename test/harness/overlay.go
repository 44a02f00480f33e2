package harness

import (
	"encoding/json"
	"fmt"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"
)

// tree is a node of a configuration.
type tree = map[string]any

// listener is one address that a component of some type listens on: the path of the setting below the component's
// configuration. With needs set, the listener is open only when the configuration has that path.
type listener struct {
	path, needs []string
}

// listeners lists, by class and type, every address that a component of the distribution opens.
var listeners = map[string]map[string][]listener{
	"receivers": {
		"otlp":   protocols("grpc", "http"),
		"jaeger": protocols("grpc", "thrift_http", "thrift_compact", "thrift_binary"),
		"zipkin": {{path: []string{"endpoint"}}},
	},
	"extensions": {
		"trace_query": {
			{path: []string{"endpoint"}},
			{path: []string{"peers", "server", "endpoint"}, needs: []string{"peers", "server"}},
			{path: []string{"jaeger", "http", "endpoint"}, needs: []string{"jaeger", "http"}},
			{path: []string{"jaeger", "grpc", "endpoint"}, needs: []string{"jaeger", "grpc"}},
		},
		"zpages":       {{path: []string{"endpoint"}}},
		"health_check": {{path: []string{"endpoint"}}},
		"pprof":        {{path: []string{"endpoint"}}},
	},
	"exporters": {
		"prometheus": {{path: []string{"endpoint"}}},
	},
}

// directories lists, by class and type, the settings that name a directory to write to.
var directories = map[string]map[string]string{
	"extensions": {"trace_store": "directory", "file_storage": "directory"},
}

func protocols(names ...string) []listener {
	var out []listener
	for _, n := range names {
		out = append(out, listener{path: []string{"protocols", n, "endpoint"}, needs: []string{"protocols", n}})
	}
	return out
}

// layout is where the parts of one process are.
type layout struct {
	overlay tree
	addrs   map[string]string // by the path of the listener's component and protocol, joined by "::"
}

// newLayout reads the configurations and gives every listener a free port of the host and every directory a place below data.
func newLayout(tb testing.TB, files []string, data, host string) layout {
	tb.Helper()
	merged := tree{}
	for _, f := range files {
		merge(merged, readConfig(tb, f))
	}
	l := layout{overlay: tree{}, addrs: map[string]string{}}
	for class, types := range listeners {
		for id, cfg := range branch(merged, class) {
			for _, li := range types[typeOf(id)] {
				cfg, _ := cfg.(tree)
				if li.needs != nil && !has(cfg, li.needs) {
					continue
				}
				addr := net.JoinHostPort(host, strconv.Itoa(FreePort(tb)))
				set(l.overlay, addr, append([]string{class, id}, li.path...)...)
				key := append([]string{class, id}, li.path[:len(li.path)-1]...)
				l.addrs[strings.Join(key, "::")] = addr
			}
		}
	}
	for class, types := range directories {
		for id := range branch(merged, class) {
			if field := types[typeOf(id)]; field != "" {
				dir := filepath.Join(data, strings.ReplaceAll(id, "/", "_"))
				require.NoError(tb, os.MkdirAll(dir, 0o755))
				set(l.overlay, dir, class, id, field)
			}
		}
	}
	l.movePeers(tb, merged)
	l.moveMetrics(tb, merged)
	return l
}

// movePeers makes those settings follow that name the ports of peers' listeners.
func (l *layout) movePeers(tb testing.TB, merged tree) {
	tb.Helper()
	port := func(key string) int {
		_, text, err := net.SplitHostPort(l.addrs[key])
		require.NoError(tb, err)
		n, err := strconv.Atoi(text)
		require.NoError(tb, err)
		return n
	}
	if has(merged, []string{"extensions", "trace_query", "peers", "dns"}) {
		set(l.overlay, port("extensions::trace_query::peers::server"), "extensions", "trace_query", "peers", "dns", "port")
	}
	if has(merged, []string{"connectors", "trace_owner"}) && has(merged, []string{"receivers", "otlp/peer"}) {
		set(l.overlay, port("receivers::otlp/peer::protocols::grpc"), "connectors", "trace_owner", "port")
	}
}

// moveMetrics gives the process's own metrics, which are on port 8888 also when no configuration says so, a free port.
func (l *layout) moveMetrics(tb testing.TB, merged tree) {
	tb.Helper()
	const key = "service::telemetry::metrics"
	metrics := branch(merged, "service", "telemetry", "metrics")
	if metrics["level"] == "none" {
		return
	}
	port := FreePort(tb)
	l.addrs[key] = loopback(port)
	readers, _ := metrics["readers"].([]any)
	if len(readers) == 0 {
		readers = []any{tree{"pull": tree{"exporter": tree{"prometheus": tree{}}}}}
	}
	readers = slices.Clone(readers)
	for i, r := range readers {
		r, _ := r.(tree)
		if p := branch(r, "pull", "exporter", "prometheus"); has(r, []string{"pull", "exporter", "prometheus"}) {
			p = maps.Clone(p)
			p["host"], p["port"] = "127.0.0.1", port
			readers[i] = tree{"pull": tree{"exporter": tree{"prometheus": p}}}
		}
	}
	set(l.overlay, readers, strings.Split(key+"::readers", "::")...)
}

// argument returns the overlay, with more merged over it, as a --config argument.
func (l *layout) argument(tb testing.TB, more tree) string {
	tb.Helper()
	merge(l.overlay, more)
	text, err := json.Marshal(l.overlay)
	require.NoError(tb, err)
	return "yaml:" + string(text)
}

// readConfig parses one --config argument: a path, or "yaml:" and a document.
func readConfig(tb testing.TB, arg string) tree {
	tb.Helper()
	text, inline := strings.CutPrefix(arg, "yaml:")
	if !inline {
		raw, err := os.ReadFile(arg)
		require.NoError(tb, err)
		text = string(raw)
	}
	cfg := tree{}
	require.NoError(tb, yaml.Unmarshal([]byte(text), &cfg), "parse %s", arg)
	return cfg
}

func typeOf(id string) string {
	t, _, _ := strings.Cut(id, "/")
	return t
}

// branch returns the map at the path, or an empty one that is not part of the tree.
func branch(t tree, path ...string) tree {
	for _, p := range path {
		t, _ = t[p].(tree)
	}
	if t == nil {
		return tree{}
	}
	return t
}

func has(t tree, path []string) bool {
	_, ok := branch(t, path[:len(path)-1]...)[path[len(path)-1]]
	return ok
}

func set(t tree, value any, path ...string) {
	for _, p := range path[:len(path)-1] {
		next, ok := t[p].(tree)
		if !ok {
			next = tree{}
			t[p] = next
		}
		t = next
	}
	t[path[len(path)-1]] = value
}

// merge lays src over dst as the Collector does: maps are joined, everything else is replaced.
func merge(dst, src tree) {
	for k, v := range src {
		into, ok := dst[k].(tree)
		from, ok2 := v.(tree)
		if ok && ok2 {
			merge(into, from)
			continue
		}
		if ok2 {
			into = tree{}
			merge(into, from)
			v = into
		}
		dst[k] = v
	}
}

// Set builds an overlay from pairs of a path, its parts joined by "::", and a value.
func Set(pairs ...any) map[string]any {
	t := tree{}
	for i := 0; i+1 < len(pairs); i += 2 {
		set(t, pairs[i+1], strings.Split(fmt.Sprint(pairs[i]), "::")...)
	}
	return t
}

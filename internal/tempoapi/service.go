package tempoapi

import (
	"net/http"
	"runtime"
	"runtime/debug"
	"strings"
)

// compatible is the version of Tempo whose API this is. Grafana compares it to know what it may use (H-03).
const compatible = "3.0.3"

// BuildInfo is the answer of /api/status/buildinfo.
type BuildInfo struct{ Version, Revision, Branch, BuildUser, BuildDate, GoVersion string }

// NewBuildInfo describes this binary. version is our own; it becomes semver build metadata of the version of Tempo's API
// that we answer.
func NewBuildInfo(command, version string) BuildInfo {
	b := BuildInfo{Version: compatible, BuildUser: command, GoVersion: runtime.Version()}
	if meta := semverMetadata(command, version); meta != "" {
		b.Version += "+" + meta
	}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return b
	}
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			b.Revision = s.Value
		case "vcs.time":
			b.BuildDate = s.Value
		case "vcs.modified":
			if s.Value == "true" {
				b.Branch = "modified"
			}
		}
	}
	return b
}

// semverMetadata joins the parts with dots, with only the characters that semver 2.0.0 (section 10) allows.
func semverMetadata(parts ...string) string {
	var out []string
	for _, p := range parts {
		p = strings.Map(func(r rune) rune {
			if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '.' || r == '-' {
				return r
			}
			return '-'
		}, strings.Trim(p, "."))
		for strings.Contains(p, "..") {
			p = strings.ReplaceAll(p, "..", ".")
		}
		if p != "" {
			out = append(out, p)
		}
	}
	return strings.Join(out, ".")
}

// echo is what Grafana's "Save & test" asks for (H-02).
func (a *API) echo(w http.ResponseWriter, _ *http.Request, _ string) error {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	_, err := w.Write([]byte("echo\n"))
	return err
}

// buildInfo answers H-03; all fields are present, also empty ones.
func (a *API) buildInfo(w http.ResponseWriter, r *http.Request, _ string) error {
	b := &a.opts.Build
	var j jsonWriter
	j.object()
	for _, f := range [...]struct{ key, value string }{
		{"version", b.Version},
		{"revision", b.Revision},
		{"branch", b.Branch},
		{"buildUser", b.BuildUser},
		{"buildDate", b.BuildDate},
		{"goVersion", b.GoVersion},
	} {
		j.key(f.key)
		j.b = appendJSONString(j.b, f.value)
	}
	j.close('}')
	return a.write(w, r, typeJSON, j.b)
}

package piiprocessor

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/consumer/consumertest"
	"go.opentelemetry.io/collector/processor"

	"github.com/bramble-tracing/bramble/internal/pii"
	"github.com/bramble-tracing/bramble/internal/webmount"
	"github.com/bramble-tracing/bramble/processors/piiprocessor/internal/metadatatest"
)

// port is an extension that shows pages, and the host that has it.
type port struct {
	component.StartFunc
	component.ShutdownFunc
	mu     sync.Mutex
	table  map[string]webmount.Mount
	refuse error
}

func newPort() *port { return &port{table: map[string]webmount.Mount{}} }

func (p *port) GetExtensions() map[component.ID]component.Component {
	return map[component.ID]component.Component{
		component.MustNewID("trace_query"): p, component.MustNewID("zpages"): struct {
			component.StartFunc
			component.ShutdownFunc
		}{},
	}
}

func (p *port) Mount(m webmount.Mount) (func(), error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.refuse != nil {
		return nil, p.refuse
	}
	if _, ok := p.table[m.Prefix]; ok {
		return nil, errors.New("taken")
	}
	p.table[m.Prefix] = m
	return func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		delete(p.table, m.Prefix)
	}, nil
}

func (p *port) Mounts() []webmount.Mount { return nil }

func (p *port) get(t *testing.T, method, target string, header ...string) *httptest.ResponseRecorder {
	t.Helper()
	p.mu.Lock()
	m, ok := p.table[pagePrefix]
	p.mu.Unlock()
	require.True(t, ok, "the page is mounted")
	r := httptest.NewRequest(method, target, http.NoBody)
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	m.Handler.ServeHTTP(w, r)
	return w
}

func startAt(t *testing.T, host component.Host, name string, change func(*Config)) processor.Traces {
	t.Helper()
	cfg := createDefaultConfig().(*Config)
	if change != nil {
		change(cfg)
	}
	tel := componenttest.NewTelemetry()
	t.Cleanup(func() { require.NoError(t, tel.Shutdown(context.Background())) })
	set := metadatatest.NewSettings(tel)
	set.ID = component.MustNewIDWithName("pii", name)
	p, err := NewFactory().CreateTraces(t.Context(), set, cfg, consumertest.NewNop())
	require.NoError(t, err)
	require.NoError(t, p.Start(t.Context(), host))
	return p
}

// TestPage: the page of all processors shows rules, hits and shapes, and no value; it is there as long as one of them is.
func TestPage(t *testing.T) {
	host := newPort()
	first := startAt(t, host, "page", func(c *Config) {
		c.Rules = map[string]pii.RuleConfig{"cards": {Action: "mask"}, "emails": {Places: []string{"span"}}}
	})
	second := startAt(t, host, "page", nil) // Of another pipeline.
	other := startAt(t, host, "report", func(c *Config) { c.Mode = modeReport })

	td, rs, _, s := oneSpan()
	rs.Resource().Attributes().PutStr("service.name", "sh op\n")
	s.Attributes().PutStr("a", "to alice.secret@example.com")
	s.Attributes().PutStr("b", "4242 4242 4242 4242")
	require.NoError(t, other.ConsumeTraces(t.Context(), td))
	require.NoError(t, first.ConsumeTraces(t.Context(), td))

	w := host.get(t, http.MethodGet, pagePrefix)
	assert.Equal(t, http.StatusOK, w.Code)
	assert.Equal(t, "text/plain; charset=utf-8", w.Header().Get("Content-Type"))
	text := w.Body.String()
	assert.Regexp(t, `pii/page: mode enforce, rules in use since 2\d{3}-`, text)
	assert.Regexp(t, `pii/report: mode report.*\n.*\nmode report: nothing was changed`, text)
	assert.Regexp(t, `emails +on +redact +everything +1 +span=1 +"sh op\\n"=1 +a\{5\}\.a\{6\}@a\{7\}\.a\{3\}`, text)
	assert.Regexp(t, `cards +on +redact +everything +1 +span=1 +"sh op\\n"=1 +9\{4\} 9\{4\} 9\{4\} 9\{4\}`, text)
	assert.Regexp(t, `iban +off`, text)
	for _, value := range []string{"alice", "4242"} {
		assert.NotContains(t, text, value)
	}

	for _, w := range []*httptest.ResponseRecorder{
		host.get(t, http.MethodGet, pagePrefix+"?format=json"), host.get(t, http.MethodGet, pagePrefix, "Accept", "application/json"),
	} {
		var got struct{ Processors []pii.Snapshot }
		assert.Equal(t, "application/json", w.Header().Get("Content-Type"))
		require.NoError(t, json.Unmarshal(w.Body.Bytes(), &got))
		names := []string{}
		for _, p := range got.Processors {
			names = append(names, p.Component)
		}
		assert.Subset(t, names, []string{"pii/page", "pii/report"})
	}
	assert.Equal(t, http.StatusBadRequest, host.get(t, http.MethodGet, pagePrefix+"?format=xml").Code)
	assert.Equal(t, http.StatusMethodNotAllowed, host.get(t, http.MethodPost, pagePrefix).Code)
	assert.Equal(t, http.StatusNotFound, host.get(t, http.MethodGet, pagePrefix+"/x").Code)

	require.NoError(t, first.Shutdown(t.Context()))
	require.NoError(t, other.Shutdown(t.Context()))
	host.get(t, http.MethodGet, pagePrefix)
	require.NoError(t, second.Shutdown(t.Context()))
	assert.Empty(t, host.table)
}

// TestPageRefused: what the port says when it refuses the page is an error of the start, and nothing is left behind.
func TestPageRefused(t *testing.T) {
	host := newPort()
	host.refuse = errors.New("the path is taken by somebody")
	tel := componenttest.NewTelemetry()
	t.Cleanup(func() { require.NoError(t, tel.Shutdown(context.Background())) })
	p, err := NewFactory().CreateTraces(t.Context(), metadatatest.NewSettings(tel), createDefaultConfig(), consumertest.NewNop())
	require.NoError(t, err)
	require.ErrorContains(t, p.Start(t.Context(), host), "show the status of pii: the path is taken by somebody")
	require.NoError(t, p.Shutdown(t.Context()))
	host.refuse = nil
	p = startAt(t, host, "", nil)
	require.NoError(t, p.Shutdown(t.Context()))
}

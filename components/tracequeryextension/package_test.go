package tracequeryextension

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/extension/extensiontest"
	"google.golang.org/grpc/metadata"

	brambledata "github.com/bramble-tracing/bramble/components/tracequeryextension/internal/metadata"
	"github.com/bramble-tracing/bramble/internal/spanid"
	"github.com/bramble-tracing/bramble/internal/store"
	"github.com/bramble-tracing/bramble/internal/store/oracle"
)

// host has the extensions of a test.
type host map[component.ID]component.Component

func (h host) GetExtensions() map[component.ID]component.Component { return h }

// storeExt is a store as an extension, as trace_store is one.
type storeExt struct {
	component.StartFunc
	component.ShutdownFunc
	store.Store
}

// authExt lets in who has the token, over HTTP and gRPC.
type authExt struct {
	component.StartFunc
	component.ShutdownFunc
}

func (authExt) Authenticate(ctx context.Context, sources map[string][]string) (context.Context, error) {
	for _, k := range []string{"Authorization", "authorization"} {
		if v := sources[k]; len(v) == 1 && v[0] == "Bearer letmein" {
			return ctx, nil
		}
	}
	return ctx, errors.New("who are you")
}

var (
	storeID = component.MustNewID("trace_store")
	authID  = component.MustNewID("testauth")
	testID  = spanid.TraceID{15: 0x2a, 0: 0x7f}
)

// someTrace is a store with one span.
func someTrace(t *testing.T) *oracle.Store {
	t.Helper()
	s := oracle.New(10)
	require.NoError(t, s.Append(t.Context(), &store.Batch{
		Resources: []store.Resource{{Attrs: []store.Attr{{Key: "service.name", Value: store.String("shop")}}}},
		Scopes:    []store.Scope{{Name: "test"}},
		Spans:     []store.Span{{TraceID: testID, SpanID: spanid.SpanID{1}, Name: "GET /cart", StartNano: 1, EndNano: 2}},
	}))
	return s
}

// start runs an extension on a free port until the test ends.
func start(t *testing.T, s store.Store, change func(*Config)) *queryExtension {
	t.Helper()
	cfg := createDefaultConfig().(*Config)
	cfg.NetAddr.Endpoint = "localhost:0"
	if change != nil {
		change(cfg)
	}
	require.NoError(t, cfg.Validate())
	set := extensiontest.NewNopSettings(brambledata.Type)
	set.ID = component.NewID(brambledata.Type)
	ext, err := create(t.Context(), set, cfg)
	require.NoError(t, err)
	e := ext.(*queryExtension)
	require.NoError(t, e.Start(t.Context(), host{storeID: storeExt{Store: s}, authID: authExt{}}))
	t.Cleanup(func() { require.NoError(t, e.Shutdown(context.Background())) })
	return e
}

// client returns an HTTP client for exactly one protocol.
func client(t *testing.T, set func(*http.Protocols), conf *tls.Config) *http.Client {
	t.Helper()
	tr := &http.Transport{Protocols: new(http.Protocols), TLSClientConfig: conf}
	set(tr.Protocols)
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr, Timeout: 10 * time.Second}
}

func http1(p *http.Protocols) { p.SetHTTP1(true) }
func http2(p *http.Protocols) { p.SetHTTP2(true) }
func h2c(p *http.Protocols)   { p.SetUnencryptedHTTP2(true) }

type answer struct {
	code   int
	proto  int
	header http.Header
	body   string
}

func get(t *testing.T, c *http.Client, url string, header ...string) answer {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	require.NoError(t, err)
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := c.Do(req)
	require.NoError(t, err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	return answer{resp.StatusCode, resp.ProtoMajor, resp.Header, string(body)}
}

func (e *queryExtension) url(path string) string { return "http://" + e.addr.String() + path }

func bearer(ctx context.Context, token string) context.Context {
	return metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+token)
}

func dial(t *testing.T, addr net.Addr) net.Conn {
	t.Helper()
	c, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", addr.String())
	require.NoError(t, err)
	t.Cleanup(func() { _ = c.Close() })
	return c
}

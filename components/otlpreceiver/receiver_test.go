package otlpreceiver

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/config/configgrpc"
	"go.opentelemetry.io/collector/config/configoptional"
	"go.opentelemetry.io/collector/confmap/confmaptest"
	"go.opentelemetry.io/collector/consumer/consumertest"
	"go.opentelemetry.io/collector/pdata/ptrace/ptraceotlp"
	stock "go.opentelemetry.io/collector/receiver/otlpreceiver"
	"go.opentelemetry.io/collector/receiver/receivertest"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/bramble-tracing/bramble/components/otlpreceiver/internal/metadata"
	"github.com/bramble-tracing/bramble/internal/procstate"
)

// reloading keeps ports until the test ends, as the main package does.
func reloading(t *testing.T) {
	t.Helper()
	procstate.Default.SetGrace(time.Hour)
	t.Cleanup(func() {
		procstate.Default.SetGrace(0)
		require.NoError(t, procstate.Default.CloseAll())
	})
}

// at makes a receiver listen where another one did.
func (r *running) at(cfg *Config) {
	cfg.Protocols.GRPC.Get().NetAddr.Endpoint = r.grpc
	cfg.Protocols.HTTP.Get().ServerConfig.NetAddr.Endpoint = r.http
}

// TestDefaults are the Collector's, whatever its version.
func TestDefaults(t *testing.T) {
	require.NoError(t, componenttest.CheckConfigStruct(NewFactory().CreateDefaultConfig()))
	assert.Equal(t, stock.NewFactory().CreateDefaultConfig(), NewFactory().CreateDefaultConfig())
	assert.Equal(t, stock.NewFactory().Type(), NewFactory().Type())
	assert.Equal(t, stock.NewFactory().TracesStability(), NewFactory().TracesStability())
}

// TestConfig: the settings are the Collector's, and unknown ones are refused.
func TestConfig(t *testing.T) {
	conf, err := confmaptest.LoadConf("testdata/config.yaml")
	require.NoError(t, err)
	for name, want := range map[string]string{"otlp": "", "otlp/all": "", "otlp/none": "at least one protocol", "otlp/unknown": "thrift"} {
		sub, err := conf.Sub(name)
		require.NoError(t, err)
		cfg := NewFactory().CreateDefaultConfig().(*Config)
		if err = sub.Unmarshal(cfg); err == nil {
			err = cfg.Validate()
		}
		if want == "" {
			require.NoError(t, err, name)
			require.True(t, cfg.Protocols.GRPC.HasValue(), name)
			require.True(t, cfg.Protocols.HTTP.HasValue(), name)
		} else {
			require.ErrorContains(t, err, want, name)
		}
	}
}

// TestReloadsLoseNothing: clients of both protocols while the receiver is replaced again and again. Over HTTP they never send
// again and never have to. Over gRPC they do when they are told to, which is rare: when a connection is made in the moment in
// which the server stops.
func TestReloadsLoseNothing(t *testing.T) {
	reloading(t)
	r := startReceiver(t, NewFactory(), nil)
	body, _ := encoded(t, ptraceotlp.NewExportRequestFromTraces(someTraces("over HTTP")))
	ctx, stop := context.WithCancel(t.Context())
	var clients sync.WaitGroup
	var mu sync.Mutex
	sent := map[string]int{}
	again := 0
	client := func(protocol string, send func() error) {
		clients.Go(func() {
			for ctx.Err() == nil {
				err := send()
				mu.Lock()
				switch {
				case protocol == "gRPC" && status.Code(err) == codes.Unavailable:
					again++
				case assert.NoError(t, err):
					sent[protocol]++
				}
				mu.Unlock()
			}
		})
	}
	web := &http.Client{Transport: &http.Transport{}}
	t.Cleanup(web.CloseIdleConnections)
	for range 2 {
		client("HTTP", func() error {
			resp, err := web.Post("http://"+r.http+"/v1/traces", protoType, bytes.NewReader(body)) //nolint:noctx // It may last.
			if err != nil {
				return err
			}
			defer resp.Body.Close()
			if resp.StatusCode != http.StatusOK {
				return fmt.Errorf("%s", resp.Status)
			}
			_, err = io.Copy(io.Discard, resp.Body)
			return err
		})
		c := ptraceotlp.NewGRPCClient(r.dial(t))
		client("gRPC", func() error {
			_, err := c.Export(context.Background(), ptraceotlp.NewExportRequestFromTraces(someTraces("over gRPC")))
			return err
		})
	}
	all := []*running{r}
	for range 30 {
		require.NoError(t, all[len(all)-1].stop(t.Context()))
		all = append(all, startReceiver(t, NewFactory(), r.at))
	}
	stop()
	clients.Wait()
	taken := map[string]int{}
	for _, r := range all {
		for _, b := range r.sink.taken() {
			for _, p := range []string{"HTTP", "gRPC"} {
				if strings.Contains(b, "over "+p) {
					taken[p]++
				}
			}
		}
	}
	assert.Equal(t, sent["HTTP"], taken["HTTP"])
	assert.GreaterOrEqual(t, taken["gRPC"], sent["gRPC"])
	require.NotZero(t, sent["HTTP"])
	require.NotZero(t, sent["gRPC"])
	t.Logf("30 reloads under %d requests over HTTP and %d over gRPC: %d had to be sent again, over gRPC", sent["HTTP"], sent["gRPC"], again)
}

// TestStopFinishesCalls: Shutdown returns when the pipeline has what has arrived, over both protocols, and not before. It
// is the pipeline's last moment.
func TestStopFinishesCalls(t *testing.T) {
	reloading(t)
	r := startReceiver(t, NewFactory(), nil)
	inside, finish := make(chan struct{}, 2), make(chan struct{})
	r.sink.hold = func() { inside <- struct{}{}; <-finish }
	answers := make(chan error, 2)
	c := ptraceotlp.NewGRPCClient(r.dial(t))
	go func() {
		_, err := c.Export(context.Background(), ptraceotlp.NewExportRequestFromTraces(someTraces("x")))
		answers <- err
	}()
	body, _ := encoded(t, ptraceotlp.NewExportRequestFromTraces(someTraces("x")))
	conn := r.send(t, protoType, body, len(body))
	go func() {
		b := make([]byte, 15)
		_, err := io.ReadFull(conn, b)
		if err == nil && string(b) != "HTTP/1.1 200 OK" {
			err = fmt.Errorf("%s", b)
		}
		answers <- err
	}()
	<-inside
	<-inside
	stopped := make(chan error, 1)
	go func() { stopped <- r.stop(context.Background()) }()
	select {
	case err := <-stopped:
		t.Fatalf("stopped while the pipeline has work: %v", err)
	case <-time.After(1200 * time.Millisecond): // Longer than patience with those who do not send.
	}
	close(finish)
	require.NoError(t, <-stopped)
	require.NoError(t, <-answers)
	require.NoError(t, <-answers)
	assert.Len(t, r.sink.taken(), 2)
}

// send begins a request over HTTP that says it has n bytes.
func (r *running) send(t *testing.T, contentType string, body []byte, n int) net.Conn {
	t.Helper()
	conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", r.http)
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	_, err = fmt.Fprintf(conn, "POST /v1/traces HTTP/1.1\r\nHost: x\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n%s", contentType, n, body)
	require.NoError(t, err)
	return conn
}

// TestStopDoesNotWaitForClients: those that send nothing, or slowly, do not hold up a reload; a slow one is told to send
// again.
func TestStopDoesNotWaitForClients(t *testing.T) {
	reloading(t)
	r := startReceiver(t, NewFactory(), nil)
	silent, err := new(net.Dialer).DialContext(t.Context(), "tcp", r.grpc)
	require.NoError(t, err)
	defer func() { _ = silent.Close() }()
	slow := r.send(t, jsonType, []byte("{"), 100)
	// So that both have been accepted.
	require.Equal(t, codes.OK, r.call(t, nil, grpcCalls()["traces"]).Code())
	began := time.Now()
	require.NoError(t, r.stop(context.Background()))
	assert.Less(t, time.Since(began), 30*time.Second, "gRPC's server waits two minutes for handshakes")
	b, err := io.ReadAll(slow) // It was cut off, or came after the end and waited for nobody.
	require.NoError(t, err)
	assert.Contains(t, string(b), "HTTP/1.1 503")
	assert.Contains(t, string(b), "Retry-After: 1\r\n")
	assert.Contains(t, string(b), "send again")
}

// TestNoSuccessor: requests that wait for pipelines that do not come are told to send again.
func TestNoSuccessor(t *testing.T) {
	reloading(t)
	r := startReceiver(t, NewFactory(), nil)
	require.NoError(t, r.stop(t.Context()))
	var clients sync.WaitGroup
	for contentType, want := range map[string]string{jsonType: `{"code":14,`, protoType: "\x08\x0e"} {
		clients.Go(func() {
			resp, err := http.Post("http://"+r.http+"/v1/traces", contentType, strings.NewReader("x")) //nolint:noctx // It is bounded.
			if !assert.NoError(t, err) {
				return
			}
			defer resp.Body.Close()
			assert.Equal(t, http.StatusServiceUnavailable, resp.StatusCode)
			assert.Equal(t, "1", resp.Header.Get("Retry-After"))
			b, err := io.ReadAll(resp.Body)
			assert.NoError(t, err)
			assert.True(t, strings.HasPrefix(strings.ReplaceAll(string(b), " ", ""), want))
		})
	}
	clients.Wait()
	http.DefaultClient.CloseIdleConnections()
}

// TestStartFails: nothing is left when one protocol cannot listen, and the error says which.
func TestStartFails(t *testing.T) {
	taken, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer func() { _ = taken.Close() }()
	free := freePort(t)
	for protocol, cfg := range map[string]func(*Config){
		"protocols::http": func(c *Config) {
			c.Protocols.GRPC.GetOrInsertDefault().NetAddr.Endpoint = free
			c.Protocols.HTTP.GetOrInsertDefault().ServerConfig.NetAddr.Endpoint = taken.Addr().String()
		},
		"protocols::grpc": func(c *Config) {
			c.Protocols.GRPC.GetOrInsertDefault().NetAddr.Endpoint = taken.Addr().String()
			c.Protocols.HTTP.GetOrInsertDefault().ServerConfig.NetAddr.Endpoint = free
		},
	} {
		c := NewFactory().CreateDefaultConfig().(*Config)
		cfg(c)
		r, err := NewFactory().CreateTraces(t.Context(), receivertest.NewNopSettings(metadata.Type), c, consumertest.NewNop())
		require.NoError(t, err)
		err = r.Start(t.Context(), componenttest.NewNopHost())
		require.ErrorContains(t, err, protocol)
		require.ErrorContains(t, err, "address already in use")
		require.NoError(t, r.Shutdown(t.Context()))
		l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", free)
		require.NoError(t, err, "the other port is free")
		require.NoError(t, l.Close())
	}
}

// TestOneReceiverPerConfiguration: signals share it until it is shut down.
func TestOneReceiverPerConfiguration(t *testing.T) {
	f, set := NewFactory(), receivertest.NewNopSettings(metadata.Type)
	cfg := f.CreateDefaultConfig()
	traces, err := f.CreateTraces(t.Context(), set, cfg, consumertest.NewNop())
	require.NoError(t, err)
	logs, err := f.CreateLogs(t.Context(), set, cfg, consumertest.NewNop())
	require.NoError(t, err)
	require.Same(t, traces, logs)
	other, err := f.CreateTraces(t.Context(), set, f.CreateDefaultConfig(), consumertest.NewNop())
	require.NoError(t, err)
	require.NotSame(t, traces, other)
	for _, c := range []component.Component{traces, logs, other} {
		require.NoError(t, c.Shutdown(t.Context()))
	}
	again, err := f.CreateTraces(t.Context(), set, cfg, consumertest.NewNop())
	require.NoError(t, err)
	require.NotSame(t, traces, again)
	require.NoError(t, again.Shutdown(t.Context()))
}

// TestSignalsWithoutConsumer are not there.
func TestSignalsWithoutConsumer(t *testing.T) {
	f := NewFactory()
	cfg := f.CreateDefaultConfig().(*Config)
	addr := freePort(t)
	cfg.Protocols.HTTP.GetOrInsertDefault().ServerConfig.NetAddr.Endpoint = freePort(t)
	cfg.Protocols.GRPC = configoptional.Some(configgrpc.NewDefaultServerConfig())
	cfg.Protocols.GRPC.Get().NetAddr.Endpoint = addr
	cfg.Protocols.GRPC.Get().NetAddr.Transport = "tcp"
	r, err := f.CreateTraces(t.Context(), receivertest.NewNopSettings(metadata.Type), cfg, consumertest.NewNop())
	require.NoError(t, err)
	require.NoError(t, r.Start(t.Context(), componenttest.NewNopHost()))
	run := &running{grpc: addr, http: cfg.Protocols.HTTP.Get().ServerConfig.NetAddr.Endpoint}
	resp, err := http.Post("http://"+run.http+"/v1/logs", jsonType, strings.NewReader("{}")) //nolint:noctx // It is local.
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	assert.Equal(t, http.StatusNotFound, resp.StatusCode)
	c := run.dial(t)
	assert.Equal(t, codes.Unimplemented, status.Code(grpcCalls()["logs"](t.Context(), c)))
	assert.Equal(t, codes.OK, status.Code(grpcCalls()["traces"](t.Context(), c)))
	require.NoError(t, c.Close())
	http.DefaultClient.CloseIdleConnections()
	require.NoError(t, r.Shutdown(t.Context()))
}

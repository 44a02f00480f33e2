package tracequeryextension

import (
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/KimMachineGun/automemlimit/memlimit"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/config/confighttp"
	"go.opentelemetry.io/collector/config/configoptional"

	"github.com/bramble-tracing/bramble/internal/query"
)

// Config is the configuration of the query port.
type Config struct {
	// ServerConfig has the Collector's settings of an HTTP server: endpoint, tls, auth, cors, include_metadata,
	// response_headers and so on. They hold for HTTP and gRPC. write_timeout is how long one write may make no progress,
	// not how long an answer may take.
	confighttp.ServerConfig `mapstructure:",squash"`
	// Store is the id of the trace_store extension that is asked.
	Store component.ID `mapstructure:"store"`
	// HTTPAPIPrefix is put before every /api path, for reverse proxies that do not strip it. Other paths are not changed.
	HTTPAPIPrefix string `mapstructure:"http_api_prefix"`
	// Limits bounds what queries may cost.
	Limits LimitsConfig `mapstructure:"limits"`
	// Peers makes every answer about the spans of all agents. Without it an agent answers from its own store.
	Peers configoptional.Optional[PeersConfig] `mapstructure:"peers"`
	// DetectPeers is a DNS name with an address for each agent, such as that of the headless Service. It is looked up
	// when peers is not set: if there are several agents, answers, /status and the log say that they are not asked. In
	// Kubernetes the default is bramble-peers; elsewhere nothing is looked up.
	DetectPeers string `mapstructure:"detect_peers"`
	// TelemetryEndpoint is the URL of the Collector's own metrics, such as http://localhost:8888/metrics. If it is set,
	// /metrics shows them too.
	TelemetryEndpoint string `mapstructure:"telemetry_endpoint"`
	// PprofEnabled serves Go profiles at /debug/pprof.
	PprofEnabled bool `mapstructure:"pprof_enabled"`
	// DeleteEnabled lets DELETE /api/traces/{traceID} delete a trace. Nothing else changes data. It needs auth.
	DeleteEnabled bool `mapstructure:"delete_enabled"`
	// Jaeger serves Jaeger's query API on ports of its own.
	Jaeger JaegerConfig `mapstructure:"jaeger"`
	// MCP serves the Model Context Protocol, for language models.
	MCP MCPConfig `mapstructure:"mcp"`
	// ShutdownTimeout is how long requests in progress may take to finish when the Collector stops or reloads.
	ShutdownTimeout time.Duration `mapstructure:"shutdown_timeout"`

	// prevent unkeyed literal initialization
	_ struct{}
}

// LimitsConfig bounds what queries may cost.
type LimitsConfig struct {
	// MaxTraceBytes is the size in bytes at which a trace is cut: the v2 endpoint then answers with what fits and says
	// so, the v1 endpoint with status 422. 0 means no limit.
	MaxTraceBytes int64 `mapstructure:"max_trace_bytes"`
	// MaxTagBytes is the size in bytes at which lists of attribute names and of values are cut.
	MaxTagBytes int `mapstructure:"max_tag_bytes"`
	// Timeout is how long a query may wait and run.
	Timeout time.Duration `mapstructure:"timeout"`
	// Concurrency is how many searches may run at the same time; as many lookups of traces by id may run besides. 0
	// means two for each CPU, and at least 4. One client gets at most all but one.
	Concurrency int `mapstructure:"concurrency"`
	// Queue is how many searches may wait for their turn, which goes round between clients; further ones are answered
	// with status 429.
	Queue int `mapstructure:"queue"`
	// MemoryMiB is how much memory all queries together may use for what they collect; one query may use half of it. 0
	// means a tenth of the container's or the machine's memory, and at most 512.
	MemoryMiB int64 `mapstructure:"memory_mib"`
	// MaxSearchRange and MaxMetricsRange are the longest time ranges of one search and of one metrics query. 0 means no
	// limit. The defaults are Tempo's.
	MaxSearchRange  time.Duration `mapstructure:"max_search_range"`
	MaxMetricsRange time.Duration `mapstructure:"max_metrics_range"`
	// StreamInterval is the least time between two messages of a stream with what is known so far.
	StreamInterval time.Duration `mapstructure:"stream_interval"`
	// SlowQuery is how long a query may wait and run before it is logged. 0 logs none.
	SlowQuery time.Duration `mapstructure:"slow_query"`

	_ struct{}
}

const (
	defaultEndpoint        = "localhost:3200"
	defaultHeaderTimeout   = 10 * time.Second
	defaultBodySize        = 1 << 20
	defaultShutdownTimeout = 5 * time.Second
)

func createDefaultConfig() component.Config {
	server := confighttp.NewDefaultServerConfig()
	server.NetAddr.Endpoint = defaultEndpoint
	server.ReadHeaderTimeout = defaultHeaderTimeout
	server.MaxRequestBodySize = defaultBodySize
	limits := query.DefaultLimits()
	return &Config{
		ServerConfig: server,
		Store:        component.MustNewID("trace_store"),
		Limits: LimitsConfig{
			MaxTraceBytes:   limits.MaxTraceBytes,
			MaxTagBytes:     limits.MaxTagBytes,
			Timeout:         limits.Timeout,
			Queue:           limits.Queue,
			MaxSearchRange:  limits.MaxSearchRange,
			MaxMetricsRange: limits.MaxMetricsRange,
			StreamInterval:  limits.StreamInterval,
			SlowQuery:       5 * time.Second,
		},
		Peers:           configoptional.Default(defaultPeers()),
		DetectPeers:     defaultDetect(),
		Jaeger:          defaultJaegerConfig(),
		ShutdownTimeout: defaultShutdownTimeout,
	}
}

// Validate names the path of each field that is out of range.
func (c *Config) Validate() error {
	var errs []error
	add := func(bad bool, format string, args ...any) {
		if bad {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	errs = append(errs, checkEndpoint("endpoint", &c.NetAddr, defaultEndpoint))
	add(c.Store.Type().String() == "", "store: must name a trace_store extension")
	p := c.HTTPAPIPrefix
	add(p != "" && (!strings.HasPrefix(p, "/") || strings.HasSuffix(p, "/")), "http_api_prefix: must begin with a slash and not end with one, is %q", p)
	if c.TelemetryEndpoint != "" {
		u, err := url.Parse(c.TelemetryEndpoint)
		add(err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "", "telemetry_endpoint: must be a URL such as http://localhost:8888/metrics, is %q", c.TelemetryEndpoint)
	}
	add(c.DeleteEnabled && !c.Auth.HasValue(), "delete_enabled: needs auth, so that not everybody who reaches %s can delete traces", c.NetAddr.Endpoint)
	add(c.Limits.MaxTraceBytes < 0, "limits::max_trace_bytes: must not be negative, is %d", c.Limits.MaxTraceBytes)
	add(c.Limits.MaxTagBytes <= 0, "limits::max_tag_bytes: must be above 0, is %d", c.Limits.MaxTagBytes)
	add(c.Limits.Timeout <= 0, "limits::timeout: must be above 0, is %s", c.Limits.Timeout)
	add(c.Limits.Concurrency < 0, "limits::concurrency: must not be negative, is %d", c.Limits.Concurrency)
	add(c.Limits.Queue < 1, "limits::queue: must be at least 1, is %d", c.Limits.Queue)
	add(c.Limits.MemoryMiB < 0, "limits::memory_mib: must not be negative, is %d", c.Limits.MemoryMiB)
	add(c.Limits.MaxSearchRange < 0, "limits::max_search_range: must not be negative, is %s", c.Limits.MaxSearchRange)
	add(c.Limits.MaxMetricsRange < 0, "limits::max_metrics_range: must not be negative, is %s", c.Limits.MaxMetricsRange)
	add(c.Limits.StreamInterval <= 0, "limits::stream_interval: must be above 0, is %s", c.Limits.StreamInterval)
	add(c.Limits.SlowQuery < 0, "limits::slow_query: must not be negative, is %s", c.Limits.SlowQuery)
	add(c.ShutdownTimeout <= 0, "shutdown_timeout: must be above 0, is %s", c.ShutdownTimeout)
	return errors.Join(errs...)
}

func (c *LimitsConfig) limits() query.Limits {
	return query.Limits{
		MaxTraceBytes: c.MaxTraceBytes, MaxTagBytes: c.MaxTagBytes, Timeout: c.Timeout, Concurrency: c.Concurrency, Queue: c.Queue, Memory: c.memory(),
		MaxSearchRange: c.MaxSearchRange, MaxMetricsRange: c.MaxMetricsRange,
		StreamInterval: c.StreamInterval, Slow: c.SlowQuery,
	}
}

// memory is the budget in bytes.
func (c *LimitsConfig) memory() int64 {
	const mib = 1 << 20
	if c.MemoryMiB > 0 {
		return c.MemoryMiB * mib
	}
	const most = 512 * mib
	total, err := memlimit.ApplyFallback(memlimit.FromCgroup, memlimit.FromSystem)()
	if err != nil {
		return 0 // The query service's default.
	}
	return int64(min(total/10, most))
}

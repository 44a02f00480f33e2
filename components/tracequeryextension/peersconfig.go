package tracequeryextension

import (
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"go.opentelemetry.io/collector/config/configgrpc"
	"go.opentelemetry.io/collector/config/confignet"
	"go.opentelemetry.io/collector/config/configoptional"
)

// PeersConfig says which agents there are and how they ask each other. One of static, dns and kubernetes must be set.
// The list may name this agent too, so it can be the same everywhere.
type PeersConfig struct {
	// Node is the name of this agent in answers of others, by default the host's name. In Kubernetes give it
	// spec.nodeName.
	Node string `mapstructure:"node"`
	// Server has the Collector's settings of a gRPC server: where other agents ask this one. Anybody who can reach it can
	// read all spans: set tls with client_ca_file, or keep it on a network that only agents reach.
	Server configgrpc.ServerConfig `mapstructure:"server"`
	// Client has the Collector's settings of a gRPC client, for asking others. endpoint must be left out.
	Client configgrpc.ClientConfig `mapstructure:"client"`
	// Static lists the agents as host:port of their peers::server.
	Static []string `mapstructure:"static"`
	// DNS looks up a name with an address for each agent.
	DNS configoptional.Optional[DNSPeersConfig] `mapstructure:"dns"`
	// Kubernetes watches the EndpointSlices of a Service.
	Kubernetes configoptional.Optional[KubernetesPeersConfig] `mapstructure:"kubernetes"`
	// Strict answers with status 503 when an agent does not answer, instead of without its spans.
	Strict bool `mapstructure:"strict"`
	// Parallel is how many agents one query asks at the same time.
	Parallel int `mapstructure:"parallel"`
	// HealthInterval is the time between two greetings of an agent, HealthTimeout how long it may take to answer one. An
	// agent that misses two is not asked until it answers again. From 50 agents on the interval grows with their number.
	HealthInterval time.Duration `mapstructure:"health_interval"`
	HealthTimeout  time.Duration `mapstructure:"health_timeout"`
	// ForgetAfter is how long an agent that has left the list is still named as missing.
	ForgetAfter time.Duration `mapstructure:"forget_after"`

	_ struct{}
}

// DNSPeersConfig finds agents by DNS.
type DNSPeersConfig struct {
	// Hostname has an address for each agent, such as bramble-peers.tracing.svc.cluster.local.
	Hostname string `mapstructure:"hostname"`
	// Port is that of peers::server.
	Port int `mapstructure:"port"`
	// Interval is the time between lookups.
	Interval time.Duration `mapstructure:"interval"`

	_ struct{}
}

// KubernetesPeersConfig finds agents by EndpointSlices, which the service account must be allowed to list and watch.
type KubernetesPeersConfig struct {
	// Service is the name of a headless Service that selects the agents, Namespace its namespace, by default the pod's.
	Service   string `mapstructure:"service"`
	Namespace string `mapstructure:"namespace"`
	// Port is that of peers::server.
	Port int `mapstructure:"port"`

	_ struct{}
}

const (
	defaultPeersEndpoint  = "localhost:3201"
	defaultPeersPort      = 3201
	defaultParallel       = 16
	defaultHealthInterval = time.Second
	defaultHealthTimeout  = 2 * time.Second
	defaultForget         = 15 * time.Minute
	defaultDNSInterval    = 5 * time.Second
	// peersMaxMessage has room for a list of some million trace ids.
	peersMaxMessage = 64
	// defaultDetectName is the headless Service of the manifests.
	defaultDetectName = "bramble-peers"
)

func defaultPeers() PeersConfig {
	server := configgrpc.NewDefaultServerConfig()
	server.NetAddr = confignet.NewDefaultAddrConfig()
	server.NetAddr.Transport = confignet.TransportTypeTCP
	server.NetAddr.Endpoint = defaultPeersEndpoint
	server.MaxRecvMsgSizeMiB = peersMaxMessage
	return PeersConfig{
		Server:         server,
		Client:         configgrpc.NewDefaultClientConfig(),
		DNS:            configoptional.Default(DNSPeersConfig{Port: defaultPeersPort, Interval: defaultDNSInterval}),
		Kubernetes:     configoptional.Default(KubernetesPeersConfig{Port: defaultPeersPort}),
		Parallel:       defaultParallel,
		HealthInterval: defaultHealthInterval,
		HealthTimeout:  defaultHealthTimeout,
		ForgetAfter:    defaultForget,
	}
}

// defaultDetect looks for other agents where there is a good chance that the name means them.
func defaultDetect() string {
	if os.Getenv("KUBERNETES_SERVICE_HOST") != "" {
		return defaultDetectName
	}
	return ""
}

// Validate names the path of each field that is wrong, below peers.
func (c *PeersConfig) Validate() error {
	var errs []error
	add := func(bad bool, format string, args ...any) {
		if bad {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	ways := 0
	for _, set := range []bool{len(c.Static) > 0, c.DNS.HasValue(), c.Kubernetes.HasValue()} {
		if set {
			ways++
		}
	}
	add(ways != 1, "one of static, dns and kubernetes must be set, %d are", ways)
	for i, a := range c.Static {
		_, port, err := net.SplitHostPort(a)
		add(err != nil || port == "", "static::%d: must be host:port, is %q", i, a)
	}
	add(c.Client.Endpoint != "", "client::endpoint: must not be set, the agents are listed by static, dns or kubernetes")
	add(c.Server.NetAddr.Endpoint == "", "server::endpoint: must not be empty, for example %s", defaultPeersEndpoint)
	add(c.Parallel < 1, "parallel: must be at least 1, is %d", c.Parallel)
	add(c.HealthInterval <= 0, "health_interval: must be above 0, is %s", c.HealthInterval)
	add(c.HealthTimeout <= 0, "health_timeout: must be above 0, is %s", c.HealthTimeout)
	add(c.ForgetAfter < 0, "forget_after: must not be negative, is %s", c.ForgetAfter)
	return errors.Join(errs...)
}

// Validate is like that of PeersConfig.
func (c *DNSPeersConfig) Validate() error {
	var errs []error
	if c.Hostname == "" {
		errs = append(errs, errors.New("hostname: must not be empty"))
	}
	if c.Interval <= 0 {
		errs = append(errs, fmt.Errorf("interval: must be above 0, is %s", c.Interval))
	}
	return errors.Join(append(errs, checkPort(c.Port))...)
}

// Validate is like that of PeersConfig.
func (c *KubernetesPeersConfig) Validate() error {
	var errs []error
	if c.Service == "" {
		errs = append(errs, errors.New("service: must name a headless Service"))
	}
	return errors.Join(append(errs, checkPort(c.Port))...)
}

func checkPort(p int) error {
	if p < 1 || p > 65535 {
		return fmt.Errorf("port: must be from 1 to 65535, is %d", p)
	}
	return nil
}

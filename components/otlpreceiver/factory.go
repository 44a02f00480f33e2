package otlpreceiver

import (
	"context"
	"sync"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/consumer/xconsumer"
	"go.opentelemetry.io/collector/receiver"
	stock "go.opentelemetry.io/collector/receiver/otlpreceiver"
	"go.opentelemetry.io/collector/receiver/xreceiver"

	"github.com/bramble-tracing/bramble/components/otlpreceiver/internal/metadata"
)

// Config is the configuration of the Collector's otlp receiver.
type Config = stock.Config

// profilesPath is where profiles are taken over HTTP (OTLP 1.x, "OTLP/HTTP Request"); it is not configurable.
const profilesPath = "/v1development/profiles"

// NewFactory returns the factory of the otlp receiver. Its defaults are those of the Collector's.
func NewFactory() receiver.Factory {
	s := &shared{receivers: make(map[*Config]*otlpReceiver)}
	return xreceiver.NewFactory(
		metadata.Type,
		stock.NewFactory().CreateDefaultConfig,
		xreceiver.WithTraces(s.createTraces, metadata.TracesStability),
		xreceiver.WithMetrics(s.createMetrics, metadata.MetricsStability),
		xreceiver.WithLogs(s.createLogs, metadata.LogsStability),
		xreceiver.WithProfiles(s.createProfiles, metadata.ProfilesStability),
	)
}

// shared are the receivers that were made and not shut down. The Collector asks for one per signal, with the same
// configuration, and gets the same one.
type shared struct {
	mu        sync.Mutex
	receivers map[*Config]*otlpReceiver
}

func (s *shared) get(set receiver.Settings, cfg component.Config) (*otlpReceiver, error) {
	c := cfg.(*Config)
	s.mu.Lock()
	defer s.mu.Unlock()
	if r := s.receivers[c]; r != nil {
		return r, nil
	}
	r, err := newOTLPReceiver(set, c, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.receivers, c)
	})
	if err != nil {
		return nil, err
	}
	s.receivers[c] = r
	return r, nil
}

func (s *shared) createTraces(_ context.Context, set receiver.Settings, cfg component.Config, next consumer.Traces) (receiver.Traces, error) {
	r, err := s.get(set, cfg)
	if err != nil {
		return nil, err
	}
	r.traces = next
	return r, nil
}

func (s *shared) createMetrics(_ context.Context, set receiver.Settings, cfg component.Config, next consumer.Metrics) (receiver.Metrics, error) {
	r, err := s.get(set, cfg)
	if err != nil {
		return nil, err
	}
	r.metrics = next
	return r, nil
}

func (s *shared) createLogs(_ context.Context, set receiver.Settings, cfg component.Config, next consumer.Logs) (receiver.Logs, error) {
	r, err := s.get(set, cfg)
	if err != nil {
		return nil, err
	}
	r.logs = next
	return r, nil
}

func (s *shared) createProfiles(_ context.Context, set receiver.Settings, cfg component.Config, next xconsumer.Profiles) (xreceiver.Profiles, error) {
	r, err := s.get(set, cfg)
	if err != nil {
		return nil, err
	}
	r.profiles = next
	return r, nil
}

package tracequeryextension

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

// telemetry gathers what the Collector publishes about itself on its own port, so that one scrape of /metrics gets
// both. If that port does not answer, the rest is shown and the metric bramble_collector_telemetry_up is 0.
type telemetry struct {
	endpoint string
	client   *http.Client
	up       prometheus.Gauge
}

const (
	telemetryTimeout = 3 * time.Second
	// maxTelemetry bounds what is read; the Collector's own page is some 100 KiB.
	maxTelemetry = 32 << 20
)

func newTelemetry(endpoint string) *telemetry {
	return &telemetry{
		endpoint: endpoint,
		// No keep-alive, so that nothing stays open between scrapes and after a reload.
		client: &http.Client{Timeout: telemetryTimeout, Transport: &http.Transport{DisableKeepAlives: true}},
		up: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "bramble_collector_telemetry_up", Help: "1 if the Collector's own telemetry could be read for this page.",
		}),
	}
}

// Gather implements prometheus.Gatherer.
func (t *telemetry) Gather() ([]*dto.MetricFamily, error) {
	families, err := t.fetch()
	if err != nil {
		t.up.Set(0)
		return nil, nil // Not an error of this page.
	}
	t.up.Set(1)
	return families, nil
}

func (t *telemetry) fetch() ([]*dto.MetricFamily, error) {
	ctx, cancel := context.WithTimeout(context.Background(), telemetryTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, t.endpoint, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", "text/plain;version=0.0.4")
	resp, err := t.client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("read %s: %s", t.endpoint, resp.Status)
	}
	parser := expfmt.NewTextParser(model.UTF8Validation)
	byName, err := parser.TextToMetricFamilies(http.MaxBytesReader(nil, resp.Body, maxTelemetry))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", t.endpoint, err)
	}
	out := make([]*dto.MetricFamily, 0, len(byName))
	for name, f := range byName {
		// Ours are about the same process.
		if !strings.HasPrefix(name, "go_") && !strings.HasPrefix(name, "process_") {
			out = append(out, f)
		}
	}
	slices.SortFunc(out, func(a, b *dto.MetricFamily) int { return strings.Compare(a.GetName(), b.GetName()) })
	return out, nil
}

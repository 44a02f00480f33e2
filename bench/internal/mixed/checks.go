package mixed

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/bramble-tracing/bramble/internal/tempopb"
)

// client is one user.
type client struct {
	base   string
	user   string
	http   *http.Client
	stream tempopb.StreamingQuerierClient
	sender *sender
	begin  time.Time
	rng    *rand.Rand
}

// check is one kind of question. It returns an error if the answer is none or wrong.
type check struct {
	name string
	ask  func(c *client, ctx context.Context) error
}

// checks are asked in random order.
var checks = []check{
	{"trace by id", (*client).traceByID},
	{"search one trace", (*client).searchOne},
	{"search a service", (*client).searchService},
	{"search, streaming", (*client).searchStream},
	{"count, instant", (*client).countInstant},
	{"count by service, range", (*client).countRange},
	{"tag values", (*client).tagValues},
	{"tag names", (*client).tagNames},
}

var errNothingYet = errors.New("nothing was acknowledged yet")

func (c *client) get(ctx context.Context, path string, header ...string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.base+path, http.NoBody)
	if err != nil {
		return nil, err
	}
	req.Header.Set("X-Grafana-User", c.user)
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	res, err := c.http.Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err == nil && res.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %.300s", res.Status, body)
	}
	return body, err
}

// window is from before the first span to after the last.
func (c *client) window() (start, end int64) {
	return c.begin.Add(-time.Hour).Unix(), time.Now().Add(10 * time.Minute).Unix()
}

func (c *client) path(p, q string, more ...string) string {
	start, end := c.window()
	v := url.Values{"q": {q}, "start": {strconv.FormatInt(start, 10)}, "end": {strconv.FormatInt(end, 10)}}
	for i := 0; i < len(more); i += 2 {
		v.Set(more[i], more[i+1])
	}
	return p + "?" + v.Encode()
}

func (c *client) traceByID(ctx context.Context) error {
	t, ok := c.sender.pick(c.rng)
	if !ok {
		return errNothingYet
	}
	body, err := c.get(ctx, "/api/v2/traces/"+t.id.String(), "Accept", "application/protobuf")
	if err != nil {
		return err
	}
	var m tempopb.TraceByIDResponse
	if err := proto.Unmarshal(body, &m); err != nil {
		return err
	}
	seen := map[string]bool{}
	for _, rs := range m.GetTrace().GetResourceSpans() {
		for _, ss := range rs.GetScopeSpans() {
			for _, s := range ss.GetSpans() {
				seen[string(s.GetSpanId())] = true
			}
		}
	}
	if len(seen) != t.spans {
		return fmt.Errorf("trace %s has %d spans, %d were acknowledged", t.id, len(seen), t.spans)
	}
	return nil
}

func (c *client) search(ctx context.Context, q string, more ...string) (*tempopb.SearchResponse, error) {
	body, err := c.get(ctx, c.path("/api/search", q, more...))
	if err != nil {
		return nil, err
	}
	var m tempopb.SearchResponse
	return &m, protojson.Unmarshal(body, &m)
}

func (c *client) searchOne(ctx context.Context) error {
	t, ok := c.sender.pick(c.rng)
	if !ok {
		return errNothingYet
	}
	m, err := c.search(ctx, `{ trace:id = "`+t.id.String()+`" }`)
	if err != nil {
		return err
	}
	if len(m.GetTraces()) != 1 || int(m.GetTraces()[0].GetSpanSet().GetMatched()) != t.spans {
		return fmt.Errorf("trace %s with %d spans is answered as %v", t.id, t.spans, m.GetTraces())
	}
	return nil
}

const serviceQuery = `{ resource.service.name = "payment" }`

func (c *client) searchService(ctx context.Context) error {
	m, err := c.search(ctx, serviceQuery, "limit", "20")
	if err != nil {
		return err
	}
	return newestFirst(m.GetTraces(), 20)
}

// newestFirst checks that traces are as an answer has them.
func newestFirst(traces []*tempopb.TraceSearchMetadata, limit int) error {
	if len(traces) > limit {
		return fmt.Errorf("%d traces, the limit is %d", len(traces), limit)
	}
	ids := map[string]bool{}
	for i, t := range traces {
		if i > 0 && t.GetStartTimeUnixNano() > traces[i-1].GetStartTimeUnixNano() {
			return errors.New("traces are not the newest first")
		}
		if ids[t.GetTraceID()] {
			return fmt.Errorf("trace %s is listed twice", t.GetTraceID())
		}
		ids[t.GetTraceID()] = true
		if len(t.GetSpanSets()) != 1 || t.GetSpanSet().GetMatched() == 0 {
			return fmt.Errorf("trace %s is listed without spans", t.GetTraceID())
		}
	}
	return nil
}

func (c *client) searchStream(ctx context.Context) error {
	start, end := c.window()
	ctx = metadata.AppendToOutgoingContext(ctx, "x-grafana-user", c.user)
	s, err := c.stream.Search(ctx, &tempopb.SearchRequest{Query: serviceQuery, Limit: 100, Start: uint32(start), End: uint32(end)}, grpc.WaitForReady(true))
	if err != nil {
		return err
	}
	var last *tempopb.SearchResponse
	for {
		m, err := s.Recv()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		last = m
	}
	if last == nil {
		return errors.New("a stream without a message")
	}
	return newestFirst(last.GetTraces(), 100)
}

// between checks a number of spans: those that were acknowledged before the question must be in it, those that were not
// sent when the answer came cannot.
func (c *client) between(before int64, got float64) error {
	if after := c.sender.sent.Load(); int64(got) < before || int64(got) > after {
		return fmt.Errorf("%.0f spans are counted; %d were acknowledged before, %d sent afterwards", got, before, after)
	}
	return nil
}

func (c *client) countInstant(ctx context.Context) error {
	before := c.sender.acked.Load()
	body, err := c.get(ctx, c.path("/api/metrics/query", "{ } | count_over_time()"))
	if err != nil {
		return err
	}
	var m tempopb.QueryInstantResponse
	if err := protojson.Unmarshal(body, &m); err != nil {
		return err
	}
	if len(m.GetSeries()) != 1 {
		return fmt.Errorf("%d series", len(m.GetSeries()))
	}
	return c.between(before, m.GetSeries()[0].GetValue())
}

func (c *client) countRange(ctx context.Context) error {
	before := c.sender.acked.Load()
	body, err := c.get(ctx, c.path("/api/metrics/query_range", "{ } | count_over_time() by (resource.service.name)", "step", "60s"))
	if err != nil {
		return err
	}
	var m tempopb.QueryRangeResponse
	if err := protojson.Unmarshal(body, &m); err != nil {
		return err
	}
	total := 0.0
	for _, s := range m.GetSeries() {
		for _, p := range s.GetSamples() {
			total += p.GetValue()
		}
	}
	return c.between(before, total)
}

func (c *client) tagValues(ctx context.Context) error {
	c.sender.mu.Lock()
	want := make([]string, 0, len(c.sender.services))
	for s := range c.sender.services {
		want = append(want, s)
	}
	c.sender.mu.Unlock()
	body, err := c.get(ctx, c.path("/api/v2/search/tag/resource.service.name/values", ""))
	if err != nil {
		return err
	}
	var m tempopb.SearchTagValuesV2Response
	if err := protojson.Unmarshal(body, &m); err != nil {
		return err
	}
	got := map[string]bool{}
	for _, v := range m.GetTagValues() {
		got[v.GetValue()] = true
	}
	for _, s := range want {
		if !got[s] {
			return fmt.Errorf("service %s is missing among %d values", s, len(got))
		}
	}
	return nil
}

func (c *client) tagNames(ctx context.Context) error {
	before := c.sender.acked.Load()
	body, err := c.get(ctx, c.path("/api/v2/search/tags", "", "scope", "resource"))
	if err != nil {
		return err
	}
	var m struct{ Scopes []struct{ Tags []string } }
	if err := json.Unmarshal(body, &m); err != nil {
		return err
	}
	if before > 0 && (len(m.Scopes) != 1 || len(m.Scopes[0].Tags) < 5) {
		return fmt.Errorf("resource attributes are %v", m.Scopes)
	}
	return nil
}

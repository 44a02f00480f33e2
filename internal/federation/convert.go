package federation

import (
	"strings"
	"time"

	"github.com/bramble-tracing/bramble/internal/federation/peerpb"
	"github.com/bramble-tracing/bramble/internal/query"
)

func packSearch(r *query.SearchRequest) *peerpb.Query {
	return &peerpb.Query{
		Text: valid(r.Query), Tags: validTags(r.Tags), MinDurationNano: int64(r.MinDuration), MaxDurationNano: int64(r.MaxDuration),
		StartNano: r.StartNano, EndNano: r.EndNano, Client: valid(r.Client),
	}
}

func searchOf(q *peerpb.Query) query.SearchRequest {
	return query.SearchRequest{
		Query: q.GetText(), Tags: q.GetTags(), MinDuration: time.Duration(q.GetMinDurationNano()), MaxDuration: time.Duration(q.GetMaxDurationNano()),
		StartNano: q.GetStartNano(), EndNano: q.GetEndNano(), Client: q.GetClient(),
	}
}

func packText(text string, start, end uint64, client string) *peerpb.Query {
	return &peerpb.Query{Text: valid(text), StartNano: start, EndNano: end, Client: valid(client)}
}

func metricsOf(q *peerpb.Query) query.MetricsRequest {
	return query.MetricsRequest{Query: q.GetText(), StartNano: q.GetStartNano(), EndNano: q.GetEndNano(), Client: q.GetClient()}
}

func namesOf(q *peerpb.Query) query.TagNamesRequest {
	return query.TagNamesRequest{Query: q.GetText(), StartNano: q.GetStartNano(), EndNano: q.GetEndNano(), Client: q.GetClient()}
}

func valuesOf(q *peerpb.Query) query.TagValuesRequest {
	return query.TagValuesRequest{Query: q.GetText(), StartNano: q.GetStartNano(), EndNano: q.GetEndNano(), Client: q.GetClient()}
}

func packCandidates(r *query.CandidatesRequest) *peerpb.CandidatesRequest {
	out := &peerpb.CandidatesRequest{Only: packSet(r.Only)}
	switch {
	case r.Search != nil:
		out.Kind, out.Query, out.Limit = peerpb.CandidatesRequest_SEARCH, packSearch(r.Search), int64(r.Search.Limit)
	case r.Metrics != nil:
		m := r.Metrics
		out.Kind, out.Query = peerpb.CandidatesRequest_METRICS, packText(m.Query, m.StartNano, m.EndNano, m.Client)
		out.StepNano, out.Instant = int64(m.Step), m.Instant
	case r.Names != nil:
		n := r.Names
		out.Kind, out.Query = peerpb.CandidatesRequest_NAMES, packText(n.Query, n.StartNano, n.EndNano, n.Client)
	case r.Values != nil:
		v := r.Values
		out.Kind, out.Query = peerpb.CandidatesRequest_VALUES, packText(v.Query, v.StartNano, v.EndNano, v.Client)
		out.Name, out.Unscoped = v.Name, v.Unscoped
	}
	return out
}

func unpackCandidates(r *peerpb.CandidatesRequest) (out query.CandidatesRequest, err error) {
	if out.Only, err = readSet(r.GetOnly()); err != nil {
		return out, err
	}
	switch r.GetKind() {
	case peerpb.CandidatesRequest_SEARCH:
		q := searchOf(r.GetQuery())
		q.Limit, out.Search = int(r.GetLimit()), &q
	case peerpb.CandidatesRequest_METRICS:
		q := metricsOf(r.GetQuery())
		q.Step, q.Instant, out.Metrics = time.Duration(r.GetStepNano()), r.GetInstant(), &q
	case peerpb.CandidatesRequest_NAMES:
		q := namesOf(r.GetQuery())
		out.Names = &q
	case peerpb.CandidatesRequest_VALUES:
		q := valuesOf(r.GetQuery())
		q.Name, q.Unscoped, out.Values = r.GetName(), r.GetUnscoped(), &q
	case peerpb.CandidatesRequest_UNKNOWN:
		fallthrough
	default:
		err = query.Invalidf("candidates of an unknown kind: %d", r.GetKind())
	}
	return out, err
}

// valid makes text fit for protobuf, which refuses the whole message otherwise.
func valid(s string) string { return strings.ToValidUTF8(s, "\uFFFD") }

func validAll(list []string) []string {
	out := make([]string, len(list))
	for i, s := range list {
		out[i] = valid(s)
	}
	return out
}

func validTags(tags map[string]string) map[string]string {
	out := make(map[string]string, len(tags))
	for k, v := range tags {
		out[valid(k)] = valid(v)
	}
	return out
}

package tempoapi

import (
	"net/http"

	"google.golang.org/grpc"

	"github.com/bramble-tracing/bramble/internal/query"
	"github.com/bramble-tracing/bramble/internal/tempopb"
)

// tags answers /api/search/tags: all names without their scopes (G-01).
func (a *API) tags(w http.ResponseWriter, r *http.Request, _ string) error {
	q, err := a.tagParams(r)
	if err != nil {
		return err
	}
	m, err := a.tagsV1Message(r, q)
	if err != nil {
		return err
	}
	return writeAs(a, w, r, m, tagsJSON)
}

func (a *API) tagsV1Message(r contexter, q query.TagNamesRequest) (*tempopb.SearchTagsResponse, error) {
	res, err := a.service.TagNames(r.Context(), q)
	if err != nil {
		return nil, err
	}
	m := &tempopb.SearchTagsResponse{Metrics: metadataStats(res.Stats)}
	seen := make(map[string]bool)
	for _, s := range res.Scopes {
		if s.Name == "intrinsic" && q.Scope != "intrinsic" { // G-01
			continue
		}
		for _, t := range s.Tags {
			if t = valid(t); !seen[t] {
				seen[t] = true
				m.TagNames = append(m.TagNames, t)
			}
		}
	}
	return m, nil
}

// tagsV2 answers /api/v2/search/tags: names by scope (G-02).
func (a *API) tagsV2(w http.ResponseWriter, r *http.Request, _ string) error {
	q, err := a.tagParams(r)
	if err != nil {
		return err
	}
	m, err := a.tagsV2Message(r, q)
	if err != nil {
		return err
	}
	return writeAs(a, w, r, m, tagsV2JSON)
}

func (a *API) tagsV2Message(r contexter, q query.TagNamesRequest) (*tempopb.SearchTagsV2Response, error) {
	res, err := a.service.TagNames(r.Context(), q)
	if err != nil {
		return nil, err
	}
	m := &tempopb.SearchTagsV2Response{Metrics: metadataStats(res.Stats)}
	for _, s := range res.Scopes {
		if len(s.Tags) == 0 {
			continue
		}
		scope := &tempopb.SearchTagsV2Scope{Name: s.Name, Tags: make([]string, len(s.Tags))}
		for i, t := range s.Tags {
			scope.Tags[i] = valid(t)
		}
		m.Scopes = append(m.Scopes, scope)
	}
	return m, nil
}

// values answers /api/search/tag/{name}/values (V-01).
func (a *API) values(w http.ResponseWriter, r *http.Request, name string) error {
	q, err := a.valueParams(r, name)
	if err != nil {
		return err
	}
	m, err := a.valuesV1Message(r, q)
	if err != nil {
		return err
	}
	return writeAs(a, w, r, m, valuesJSON)
}

func (a *API) valuesV1Message(r contexter, q query.TagValuesRequest) (*tempopb.SearchTagValuesResponse, error) {
	q.Unscoped = true
	res, err := a.service.TagValues(r.Context(), q)
	if err != nil {
		return nil, err
	}
	m := &tempopb.SearchTagValuesResponse{Metrics: metadataStats(res.Stats), TagValues: make([]string, len(res.Values))}
	for i, v := range res.Values {
		m.TagValues[i] = valid(v.Text)
	}
	return m, nil
}

// valuesV2 answers /api/v2/search/tag/{identifier}/values (V-02).
func (a *API) valuesV2(w http.ResponseWriter, r *http.Request, name string) error {
	q, err := a.valueParams(r, name)
	if err != nil {
		return err
	}
	m, err := a.valuesV2Message(r, q)
	if err != nil {
		return err
	}
	if formatOf(r) == formatLLM { // C-08
		return a.write(w, r, typeLLM, valuesLLM(m))
	}
	return writeAs(a, w, r, m, valuesV2JSON)
}

func (a *API) valuesV2Message(r contexter, q query.TagValuesRequest) (*tempopb.SearchTagValuesV2Response, error) {
	res, err := a.service.TagValues(r.Context(), q)
	if err != nil {
		return nil, err
	}
	m := &tempopb.SearchTagValuesV2Response{Metrics: metadataStats(res.Stats), TagValues: make([]*tempopb.TagValue, len(res.Values))}
	for i, v := range res.Values {
		m.TagValues[i] = &tempopb.TagValue{Type: v.Type, Value: valid(v.Text)}
	}
	return m, nil
}

func metadataStats(s query.Stats) *tempopb.MetadataMetrics {
	return &tempopb.MetadataMetrics{InspectedBytes: s.Bytes, TotalJobs: s.Jobs, CompletedJobs: s.Completed}
}

// SearchTags is the streaming form of /api/search/tags.
func (a *API) SearchTags(m *tempopb.SearchTagsRequest, stream grpc.ServerStreamingServer[tempopb.SearchTagsResponse]) error {
	q, err := a.protoTags(m, streamClient(stream))
	if err != nil {
		return grpcError(err)
	}
	res, err := a.tagsV1Message(stream, q)
	if err != nil {
		return grpcError(err)
	}
	return splitTags(res, stream.Send)
}

// SearchTagsV2 is the streaming form of /api/v2/search/tags.
func (a *API) SearchTagsV2(m *tempopb.SearchTagsRequest, stream grpc.ServerStreamingServer[tempopb.SearchTagsV2Response]) error {
	q, err := a.protoTags(m, streamClient(stream))
	if err != nil {
		return grpcError(err)
	}
	res, err := a.tagsV2Message(stream, q)
	if err != nil {
		return grpcError(err)
	}
	return splitTagsV2(res, stream.Send)
}

// SearchTagValues is the streaming form of /api/search/tag/{name}/values.
func (a *API) SearchTagValues(m *tempopb.SearchTagValuesRequest, stream grpc.ServerStreamingServer[tempopb.SearchTagValuesResponse]) error {
	q, err := a.protoValues(m, streamClient(stream))
	if err != nil {
		return grpcError(err)
	}
	res, err := a.valuesV1Message(stream, q)
	if err != nil {
		return grpcError(err)
	}
	return splitValues(res, stream.Send)
}

// SearchTagValuesV2 is the streaming form of /api/v2/search/tag/{identifier}/values.
func (a *API) SearchTagValuesV2(m *tempopb.SearchTagValuesRequest, stream grpc.ServerStreamingServer[tempopb.SearchTagValuesV2Response]) error {
	q, err := a.protoValues(m, streamClient(stream))
	if err != nil {
		return grpcError(err)
	}
	res, err := a.valuesV2Message(stream, q)
	if err != nil {
		return grpcError(err)
	}
	return splitValuesV2(res, stream.Send)
}

package jaegerpb

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// TestNumbers compares the messages with the contract's tables (J-21, J-22): on the wire only numbers count.
func TestNumbers(t *testing.T) {
	for message, fields := range map[protoreflect.Name]map[protoreflect.Name]protoreflect.FieldNumber{
		"GetTraceRequest": {"trace_id": 1, "start_time": 2, "end_time": 3, "raw_traces": 4},
		"TraceQueryParameters": {
			"service_name": 1, "operation_name": 2, "attributes": 3, "start_time_min": 4, "start_time_max": 5,
			"duration_min": 6, "duration_max": 7, "search_depth": 8, "raw_traces": 9,
		},
		"FindTracesRequest": {"query": 1}, "FindTraceSummariesRequest": {"query": 1}, "FindTraceSummariesResponse": {"summaries": 1},
		"GetServicesRequest": {}, "GetServicesResponse": {"services": 1},
		"GetOperationsRequest": {"service": 1, "span_kind": 2}, "GetOperationsResponse": {"operations": 1}, "Operation": {"name": 1, "span_kind": 2},
		"GetDependenciesRequest": {"start_time": 1, "end_time": 2}, "DependenciesResponse": {"dependencies": 1},
		"Dependency": {"parent": 1, "child": 2, "call_count": 3},
		"TraceSummary": {
			"trace_id": 1, "root_service_name": 2, "root_operation_name": 3, "min_start_time_unix_nano": 4, "max_end_time_unix_nano": 5,
			"span_count": 6, "error_span_count": 7, "orphan_span_count": 8, "services": 9,
		},
		"ServiceSummary": {"name": 1, "span_count": 2, "error_span_count": 3},
	} {
		d := File_jaeger_api_v3_proto.Messages().ByName(message)
		require.NotNil(t, d, message)
		got := map[protoreflect.Name]protoreflect.FieldNumber{}
		for i := range d.Fields().Len() {
			got[d.Fields().Get(i).Name()] = d.Fields().Get(i).Number()
		}
		assert.Equal(t, fields, got, message)
	}
	summary := File_jaeger_api_v3_proto.Messages().ByName("TraceSummary").Fields()
	assert.Equal(t, protoreflect.Fixed64Kind, summary.ByName("min_start_time_unix_nano").Kind())
	assert.Equal(t, protoreflect.Fixed64Kind, summary.ByName("max_end_time_unix_nano").Kind())
	assert.Equal(t, "jaeger.api_v3.QueryService", QueryService_ServiceDesc.ServiceName) // J-20
}

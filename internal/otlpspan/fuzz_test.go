package otlpspan_test

import (
	"bytes"
	"errors"
	"reflect"
	"regexp"
	"strings"
	"testing"

	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"

	"go.opentelemetry.io/collector/pdata/ptrace"

	"github.com/bramble-tracing/bramble/internal/otlpspan"
	"github.com/bramble-tracing/bramble/internal/store"
	"github.com/bramble-tracing/bramble/internal/testkit"
)

// deprecated finds tags of field 1000, which pdata still parses (and then does not show) and we skip.
var deprecated = regexp.MustCompile(`[\xc0-\xc7][\x3e\xbe]`)

// FuzzReadProto compares ReadProto with pdata's unmarshaler and Flatten. pdata is laxer in a few places (overlong
// numbers); there the decoder of google.golang.org/protobuf must refuse too. Groups we refuse and pdata misreads.
func FuzzReadProto(f *testing.F) {
	for seed := range uint64(6) {
		enc, err := otlpspan.AppendProto(nil, testkit.NewNasty(seed).Batch(1+int(seed)))
		if err != nil {
			f.Fatal(err)
		}
		if len(enc) < 64<<10 {
			f.Add(enc)
		}
	}
	f.Add([]byte("\x0a\x04\x12\x02\x12\x00"))
	f.Add([]byte("\x0a\x06\x12\x04\x12\x02\x4a\x00"))
	f.Fuzz(func(t *testing.T, data []byte) {
		kept := bytes.Clone(data)
		var got store.Batch
		err := otlpspan.ReadProto(data, &got)
		if err != nil && (!errors.Is(err, store.ErrInvalid) || len(got.Spans)+len(got.Resources)+len(got.Scopes) > 0) {
			t.Fatalf("error %v, batch %v", err, got)
		}
		td, perr := new(ptrace.ProtoUnmarshaler).UnmarshalTraces(kept)
		if perr != nil {
			if err == nil && !deprecated.Match(kept) {
				t.Fatalf("pdata refuses with %v what we take: %x", perr, kept)
			}
			return
		}
		var want store.Batch
		ferr := otlpspan.Flatten(td, &want)
		switch {
		case ferr != nil && err == nil:
			t.Fatalf("Flatten: %v, ReadProto: no error", ferr)
		case err != nil && ferr == nil:
			// A choice set twice may hide a value that is too deep.
			expected := strings.Contains(err.Error(), "nest more") || strings.Contains(err.Error(), "is a group")
			if !expected && proto.Unmarshal(kept, new(tracepb.TracesData)) == nil {
				t.Fatalf("ReadProto: %v, pdata and protobuf: no error: %x", err, kept)
			}
		case err == nil && !same(&want, &got):
			t.Fatalf("want %+v\ngot %+v", want, got)
		case err == nil:
			requireStable(t, &got)
		}
	})
}

// same treats nil and empty slices alike.
func same(a, b *store.Batch) bool {
	for _, x := range []*store.Batch{a, b} {
		for i := range x.Spans {
			s := &x.Spans[i]
			if len(s.Attrs) == 0 {
				s.Attrs = nil
			}
		}
	}
	return len(a.Spans) == 0 && len(b.Spans) == 0 || reflect.DeepEqual(a, b)
}

// requireStable encodes rows and reads them again.
func requireStable(t *testing.T, b *store.Batch) {
	t.Helper()
	enc, err := otlpspan.AppendProto(nil, b)
	if err != nil {
		t.Fatalf("AppendProto of what ReadProto gave: %v", err)
	}
	var again store.Batch
	if err := otlpspan.ReadProto(enc, &again); err != nil {
		t.Fatalf("ReadProto of what AppendProto gave: %v", err)
	}
	if !same(b, &again) {
		t.Fatalf("want %+v\ngot %+v", b, again)
	}
}

// TestTruncated cuts a message at every byte and flips a bit of every byte: an error or an answer, never a panic.
func TestTruncated(t *testing.T) {
	g := testkit.NewNasty(3)
	g.MaxString = 0
	enc, err := otlpspan.AppendProto(nil, g.Batch(4))
	if err != nil {
		t.Fatal(err)
	}
	var b store.Batch
	for i := range enc {
		b.Reset()
		if err := otlpspan.ReadProto(enc[:i], &b); err == nil && i > 0 && len(b.Spans) == 4 {
			t.Fatalf("%d of %d bytes hold all spans", i, len(enc))
		}
		damaged := bytes.Clone(enc)
		damaged[i] ^= 1 << (i % 8)
		b.Reset()
		_ = otlpspan.ReadProto(damaged, &b)
	}
}

package block

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"

	"github.com/bramble-tracing/bramble/internal/store"
	"github.com/bramble-tracing/bramble/internal/tracedb/internal/column"
)

// encode returns the contents of the overlay's file.
func (o *Overlay) encode() ([]byte, error) {
	if len(o.Policies) > maxPolicies {
		return nil, fmt.Errorf("overlay of block %s has %d policies, at most %d are possible", o.Block, len(o.Policies), maxPolicies)
	}
	le := binary.LittleEndian
	b := append([]byte{}, overlayMagic[:]...)
	b = le.AppendUint64(b, o.Seq)
	b = le.AppendUint32(b, uint32(len(o.Traces)))  //nolint:gosec // at most the traces of a block
	b = le.AppendUint32(b, uint32(len(o.Patches))) //nolint:gosec // at most the resources of a block
	b = appendText(b, o.Block)
	b = binary.AppendUvarint(b, uint64(len(o.Policies)))
	for _, p := range o.Policies {
		b = appendText(b, p)
	}
	for i := range o.Traces {
		n := &o.Traces[i]
		if i > 0 && bytes.Compare(o.Traces[i-1].ID[:], n.ID[:]) >= 0 || n.Flags&^allFlags != 0 ||
			n.Policy != NoPolicy && int(n.Policy) >= len(o.Policies) {
			return nil, fmt.Errorf("overlay of block %s: note of trace %s is out of order or refers to what is not there", o.Block, n.ID)
		}
		b = append(b, n.ID[:]...)
		b = append(b, byte(n.Flags))
		b = le.AppendUint16(b, n.Policy)
		b = le.AppendUint64(b, n.Time)
	}
	for i := range o.Patches {
		b = appendPatch(b, &o.Patches[i])
	}
	return le.AppendUint32(b, crc32.Checksum(b, column.Castagnoli)), nil
}

func appendPatch(b []byte, p *Patch) []byte {
	if p.IsScope {
		b = binary.AppendUvarint(append(b, 1), uint64(p.ID)) //nolint:gosec // not negative
		b = binary.AppendUvarint(b, uint64(p.Scope.DroppedAttrs))
		b = appendText(appendText(appendText(b, p.Scope.SchemaURL), p.Scope.Name), p.Scope.Version)
		return appendText(b, store.Map(p.Scope.Attrs...).Str)
	}
	b = binary.AppendUvarint(append(b, 0), uint64(p.ID)) //nolint:gosec // not negative
	b = binary.AppendUvarint(b, uint64(p.Resource.DroppedAttrs))
	b = appendText(appendText(b, p.Resource.SchemaURL), p.Resource.EntityRefs)
	return appendText(b, store.Map(p.Resource.Attrs...).Str)
}

var errOverlay = errors.New("overlay is malformed")

// DecodeOverlay parses the contents of an overlay file. name is for errors.
func DecodeOverlay(b []byte, name string) (*Overlay, error) {
	o, err := decodeOverlay(b)
	if err != nil {
		return nil, &store.CorruptionError{Path: name, Err: err}
	}
	return o, nil
}

func decodeOverlay(b []byte) (*Overlay, error) {
	le := binary.LittleEndian
	if len(b) < overlayHead+4 || [8]byte(b[:8]) != overlayMagic {
		return nil, errors.New("it is not an overlay of version 1")
	}
	end := len(b) - 4
	if got, want := crc32.Checksum(b[:end], column.Castagnoli), le.Uint32(b[end:]); got != want {
		return nil, fmt.Errorf("checksum is %08x, want %08x", got, want)
	}
	o := &Overlay{Seq: le.Uint64(b[8:])}
	traces, patches := int(le.Uint32(b[16:])), int(le.Uint32(b[20:]))
	c := overlayCursor{b: b[overlayHead:end]}
	o.Block = c.text()
	policies := c.count()
	if policies > min(len(c.b), maxPolicies) {
		return nil, errOverlay
	}
	for range policies {
		o.Policies = append(o.Policies, c.text())
	}
	if c.bad || traces > len(c.b)/overlayNote {
		return nil, errOverlay
	}
	o.Traces = make([]TraceNote, traces)
	for i := range o.Traces {
		n := &o.Traces[i]
		raw := c.take(overlayNote)
		copy(n.ID[:], raw)
		n.Flags, n.Policy, n.Time = TraceFlags(raw[16]), le.Uint16(raw[17:]), le.Uint64(raw[19:])
		if i > 0 && bytes.Compare(o.Traces[i-1].ID[:], n.ID[:]) >= 0 || n.Flags&^allFlags != 0 ||
			n.Policy != NoPolicy && int(n.Policy) >= len(o.Policies) {
			return nil, errOverlay
		}
	}
	if patches > len(c.b) {
		return nil, errOverlay
	}
	for range patches {
		o.Patches = append(o.Patches, c.patch())
	}
	if c.bad || len(c.b) != 0 {
		return nil, errOverlay
	}
	return o, nil
}

// overlayCursor reads an overlay. Once bad, it stays bad and gives zeros.
type overlayCursor struct {
	b   []byte
	bad bool
}

func (c *overlayCursor) take(n int) []byte {
	if c.bad || n > len(c.b) {
		c.bad, c.b = true, nil
		return nil
	}
	out := c.b[:n]
	c.b = c.b[n:]
	return out
}

func (c *overlayCursor) count() int {
	v, n := binary.Uvarint(c.b)
	if c.bad || n <= 0 || v > maxOverlay {
		c.bad, c.b = true, nil
		return 0
	}
	c.b = c.b[n:]
	return int(v)
}

func (c *overlayCursor) text() string { return string(c.take(c.count())) }

func (c *overlayCursor) dropped() uint32 {
	v, n := binary.Uvarint(c.b)
	if c.bad || n <= 0 || v > 1<<32-1 {
		c.bad, c.b = true, nil
		return 0
	}
	c.b = c.b[n:]
	return uint32(v)
}

func (c *overlayCursor) attrs() []store.Attr {
	attrs, err := store.Value{Type: store.TypeMap, Str: c.text()}.Attrs()
	if err != nil {
		c.bad = true
	}
	return attrs
}

func (c *overlayCursor) patch() Patch {
	var p Patch
	kind := c.take(1)
	if c.bad || kind[0] > 1 {
		c.bad = true
		return p
	}
	p.IsScope = kind[0] == 1
	p.ID = c.count()
	dropped, schema := c.dropped(), c.text()
	if p.IsScope {
		p.Scope = store.Scope{DroppedAttrs: dropped, SchemaURL: schema, Name: c.text(), Version: c.text()}
		p.Scope.Attrs = c.attrs()
		return p
	}
	p.Resource = store.Resource{DroppedAttrs: dropped, SchemaURL: schema, EntityRefs: c.text()}
	p.Resource.Attrs = c.attrs()
	return p
}

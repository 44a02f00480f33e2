package block

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"path/filepath"
	"slices"

	"github.com/bramble-tracing/bramble/internal/fsx"
	"github.com/bramble-tracing/bramble/internal/store"
	"github.com/bramble-tracing/bramble/internal/tracedb/internal/column"
)

// Version is the format that this package writes. It reads this one and none other yet.
const Version = 1

// Names of the files of a block.
const (
	MetaFile      = "meta.json"
	MetaCopyFile  = "meta.copy.json"
	SpansFile     = "spans.parquet"
	ResourcesFile = "resources.parquet"
	EventsFile    = "events.parquet"
	LinksFile     = "links.parquet"
	TracesFile    = "traces.idx"
	AttrsFile     = "attrs.idx"
	// CountsFile is not in blocks that were written before there was one.
	CountsFile = "counts.idx"
	// TempSuffix ends the name of a block's directory until it is complete.
	TempSuffix = ".tmp"
)

// dataFiles are all files but meta.json, in the order in which they are verified.
var dataFiles = []string{SpansFile, ResourcesFile, EventsFile, LinksFile, TracesFile, AttrsFile, CountsFile}

// tableFiles are those of dataFiles from which the others can be made again.
var tableFiles = dataFiles[:4]

// IsDataFile reports whether a block's meta lists a file of this name. They are what Meta.Bytes counts.
func IsDataFile(name string) bool { return slices.Contains(dataFiles, name) }

// Meta is the contents of meta.json. Times are Unix nanoseconds.
type Meta struct {
	Version   int      `json:"version"`
	ID        string   `json:"id"`
	Level     int      `json:"level"`
	Parents   []string `json:"parents,omitempty"` // blocks that this one replaces
	MinStart  uint64   `json:"min_start,string"`
	MaxStart  uint64   `json:"max_start,string"`
	MaxEnd    uint64   `json:"max_end,string"`
	Rows      int      `json:"rows"`
	Traces    int      `json:"traces"`
	Events    int      `json:"events"`
	Links     int      `json:"links"`
	Resources int      `json:"resources"`
	Scopes    int      `json:"scopes"`
	// WALMark is the number of the newest log record whose spans are in the block or in an older one; 0 if unknown. It
	// is for rebuilding a manifest.
	WALMark uint64 `json:"wal_mark,string,omitempty"`
	// Written is when the newest of the level-0 blocks was written whose spans are in a block of a higher level, Unix
	// nanoseconds; 0 in level-0 blocks, whose id has the time.
	Written uint64 `json:"written,string,omitempty"`
	// Decided is the number of traces of which spans.parquet says that it was decided to keep them.
	Decided int `json:"decided,omitempty"`
	// Overflow says that spans, events or links have attributes without a column of their own.
	Overflow bool                     `json:"overflow,omitempty"`
	Groups   []Group                  `json:"row_groups"`
	Files    map[string]column.Layout `json:"files"`
	Columns  []ColumnMeta             `json:"columns"`
}

// Group is a row group of spans.parquet with the rows that belong to it elsewhere.
type Group struct {
	Rows int `json:"rows"`
	// ResourceBase and ScopeBase are added to resource_id and scope_id.
	ResourceBase int `json:"resource_base"`
	ScopeBase    int `json:"scope_base"`
	// EventRows and LinkRows tell, per granule, how many rows of events.parquet and links.parquet are its own.
	EventRows []int `json:"event_rows"`
	LinkRows  []int `json:"link_rows"`
}

// ColumnMeta describes an attribute column.
type ColumnMeta struct {
	Table    string `json:"table"`
	Name     string `json:"name"`
	Type     string `json:"type"`
	Rows     int    `json:"rows"`
	Distinct int    `json:"distinct"` // estimate
}

// has reports whether the block has a file.
func (m *Meta) has(name string) bool {
	_, ok := m.Files[name]
	return ok
}

// Bytes returns the size of the block on disk without meta.json.
func (m *Meta) Bytes() int64 {
	n := int64(0)
	for _, l := range m.Files {
		n += l.Size
	}
	return n
}

// ErrVersion: the block was written by a newer (or much older) program.
var ErrVersion = errors.New("unknown format version")

// metaHead begins meta.json; the digits are the CRC32C of everything behind the line.
const metaHead = "{\"crc32c\":\"%08x\",\n"

var metaHeadLen = len(fmt.Sprintf(metaHead, 0))

// encodeMeta returns the contents of meta.json.
func encodeMeta(m *Meta) ([]byte, error) {
	body, err := json.Marshal(m)
	if err != nil {
		return nil, fmt.Errorf("encode meta: %w", err)
	}
	body = append(body[1:], '\n') // the opening brace is in the head
	return append(fmt.Appendf(nil, metaHead, crc32.Checksum(body, column.Castagnoli)), body...), nil
}

// ReadMeta reads meta.json of a block's directory or, if that is damaged or missing, its copy.
func ReadMeta(fs fsx.FS, dir string) (*Meta, error) {
	m, err := readMeta(fs, filepath.Join(dir, MetaFile))
	var corrupt *store.CorruptionError
	if !errors.As(err, &corrupt) || errors.Is(err, ErrVersion) {
		return m, err
	}
	if m, copyErr := readMeta(fs, filepath.Join(dir, MetaCopyFile)); copyErr == nil && m.ID == filepath.Base(dir) {
		return m, nil
	}
	return nil, err
}

func readMeta(fs fsx.FS, path string) (*Meta, error) {
	buf, err := fsx.ReadFile(fs, path)
	if err != nil {
		return nil, missing(path, err)
	}
	return DecodeMeta(buf, path)
}

// DecodeMeta parses the contents of meta.json. name is for errors.
func DecodeMeta(b []byte, name string) (*Meta, error) {
	m, err := decodeMeta(b)
	if err != nil {
		return nil, &store.CorruptionError{Path: name, Err: err}
	}
	return m, nil
}

func decodeMeta(b []byte) (*Meta, error) {
	if len(b) < metaHeadLen || !bytes.HasPrefix(b, []byte(metaHead[:11])) {
		return nil, errors.New("it is not the meta.json of a block")
	}
	body := b[metaHeadLen:]
	if want := fmt.Sprintf(metaHead, crc32.Checksum(body, column.Castagnoli)); string(b[:metaHeadLen]) != want {
		return nil, errors.New("its checksum is wrong")
	}
	text := append([]byte{'{'}, body...)
	var v struct { // First: in another version the rest may be of other types.
		Version int `json:"version"`
	}
	if err := json.Unmarshal(text, &v); err != nil {
		return nil, fmt.Errorf("parse it: %w", err)
	}
	if v.Version != Version {
		return nil, fmt.Errorf("%w %d: this program reads version %d, use the version that wrote it", ErrVersion, v.Version, Version)
	}
	m := &Meta{}
	if err := json.Unmarshal(text, m); err != nil {
		return nil, fmt.Errorf("parse it: %w", err)
	}
	return m, m.check()
}

// check finds contradictions that a reader would stumble over.
func (m *Meta) check() error {
	rows, events, links := 0, 0, 0
	for i := range m.Groups {
		g := &m.Groups[i]
		granules := (g.Rows + store.GranuleRows - 1) / store.GranuleRows
		last := i == len(m.Groups)-1
		switch {
		case g.Rows <= 0 || g.Rows > 1<<31 || !last && g.Rows%store.GranuleRows != 0:
			return fmt.Errorf("row group %d of %d has %d rows", i, len(m.Groups), g.Rows)
		case len(g.EventRows) != granules || len(g.LinkRows) != granules:
			return fmt.Errorf("row group %d lists events of %d and links of %d granules, and has %d",
				i, len(g.EventRows), len(g.LinkRows), granules)
		case g.ResourceBase < 0 || g.ScopeBase < 0:
			return fmt.Errorf("row group %d has a negative base", i)
		}
		rows += g.Rows
		for j := range g.EventRows {
			if g.EventRows[j] < 0 || g.LinkRows[j] < 0 {
				return fmt.Errorf("row group %d has a negative number of events or links", i)
			}
			events += g.EventRows[j]
			links += g.LinkRows[j]
		}
	}
	if rows != m.Rows || rows > 1<<31 || events != m.Events || links != m.Links {
		return fmt.Errorf("row groups have %d spans, %d events, %d links, and the block %d, %d, %d",
			rows, events, links, m.Rows, m.Events, m.Links)
	}
	if m.Traces < 0 || m.Traces > m.Rows || m.Resources < 0 || m.Scopes < 0 {
		return fmt.Errorf("%d traces, %d resources and %d scopes cannot be", m.Traces, m.Resources, m.Scopes)
	}
	for _, name := range dataFiles {
		l, ok := m.Files[name]
		if !ok && name == CountsFile {
			continue
		}
		if !ok {
			return fmt.Errorf("file %s is not listed", name)
		}
		if l.Size < 0 || l.FooterOffset < 0 || l.IndexOffset < 0 || l.FooterOffset > l.Size || l.IndexOffset > l.FooterOffset {
			return fmt.Errorf("file %s has impossible sizes", name)
		}
	}
	return nil
}

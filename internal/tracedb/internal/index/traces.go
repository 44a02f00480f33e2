package index

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"slices"
	"sort"
	"sync"

	"github.com/bramble-tracing/bramble/internal/spanid"
	"github.com/bramble-tracing/bramble/internal/store"
)

// NoRow says that a trace has no root.
const NoRow = ^uint32(0)

// Trace is an entry of traces.idx. Times are Unix nanoseconds.
type Trace struct {
	ID    spanid.TraceID
	Row   uint32 // of the first span
	Spans uint32 // in consecutive rows; below 1<<31
	Root  uint32 // row of the first span without parent, or NoRow
	Start uint64 // earliest start of a span
	End   uint64 // latest end of a span
	Error bool   // a span has status error
}

// Sizes of traces.idx.
const (
	pageSize    = 4096
	entrySize   = 44
	pageEntries = (pageSize - 4) / entrySize // 93, which fill the page but for its checksum
	footerSize  = 40
	bloomUnit   = 32 // bytes of a bloom block
	bloomPerKey = 10 // bits
	errorBit    = 1 << 31
)

var footerMagic = [8]byte{'B', 'R', 'T', 'R', 'I', 'D', 'X', '1'}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// ErrDuplicate: a trace was given in two places, so the input of the block was not in order.
var ErrDuplicate = errors.New("a trace's spans are not contiguous")

// WriteTraces sorts entries by id and writes them as traces.idx. It returns the length and CRC32C of what it wrote.
func WriteTraces(w io.Writer, entries []Trace) (size int64, crc uint32, err error) {
	slices.SortFunc(entries, func(a, b Trace) int { return bytes.Compare(a.ID[:], b.ID[:]) })
	for i := 1; i < len(entries); i++ {
		if entries[i].ID == entries[i-1].ID {
			return 0, 0, fmt.Errorf("write index entry of trace %s: %w", entries[i].ID, ErrDuplicate)
		}
	}
	put := func(b []byte) error {
		n, err := w.Write(b)
		size += int64(n)
		crc = crc32.Update(crc, castagnoli, b[:n])
		return err
	}
	var page [pageSize]byte
	for chunk := range slices.Chunk(entries, pageEntries) {
		clear(page[:])
		for i := range chunk {
			putEntry(page[i*entrySize:], &chunk[i])
		}
		binary.LittleEndian.PutUint32(page[pageSize-4:], crc32.Checksum(page[:pageSize-4], castagnoli))
		if err := put(page[:]); err != nil {
			return size, crc, err
		}
	}
	return writeTail(entries, put, &size, &crc)
}

// writeTail writes the bloom filter, the first key of each page and the footer.
func writeTail(entries []Trace, put func([]byte) error, size *int64, crc *uint32) (int64, uint32, error) {
	filter := make([]byte, bloomBytes(len(entries)))
	for i := range entries {
		bloomAdd(filter, entries[i].ID.Hash())
	}
	keys := make([]byte, 0, 8*((len(entries)+pageEntries-1)/pageEntries))
	for i := 0; i < len(entries); i += pageEntries {
		keys = append(keys, entries[i].ID[:8]...)
	}
	footer := make([]byte, 0, footerSize)
	footer = binary.LittleEndian.AppendUint64(footer, uint64(len(entries)))
	footer = binary.LittleEndian.AppendUint64(footer, uint64(len(filter)))
	footer = binary.LittleEndian.AppendUint64(footer, uint64(len(keys)))
	sum := crc32.Update(crc32.Checksum(filter, castagnoli), castagnoli, keys)
	footer = binary.LittleEndian.AppendUint32(footer, sum)
	footer = append(footer, footerMagic[:]...)
	footer = binary.LittleEndian.AppendUint32(footer, crc32.Checksum(footer, castagnoli))
	err := put(filter)
	if err == nil {
		err = put(keys)
	}
	if err == nil {
		err = put(footer)
	}
	return *size, *crc, err
}

func putEntry(b []byte, e *Trace) {
	copy(b, e.ID[:])
	binary.LittleEndian.PutUint32(b[16:], e.Row)
	spans := e.Spans
	if e.Error {
		spans |= errorBit
	}
	binary.LittleEndian.PutUint32(b[20:], spans)
	binary.LittleEndian.PutUint32(b[24:], e.Root)
	binary.LittleEndian.PutUint64(b[28:], e.Start)
	binary.LittleEndian.PutUint64(b[36:], e.End)
}

func getEntry(b []byte) Trace {
	var e Trace
	copy(e.ID[:], b)
	e.Row = binary.LittleEndian.Uint32(b[16:])
	spans := binary.LittleEndian.Uint32(b[20:])
	e.Spans, e.Error = spans&^errorBit, spans&errorBit != 0
	e.Root = binary.LittleEndian.Uint32(b[24:])
	e.Start = binary.LittleEndian.Uint64(b[28:])
	e.End = binary.LittleEndian.Uint64(b[36:])
	return e
}

func bloomBytes(keys int) int {
	return max(1, (keys*bloomPerKey+bloomUnit*8-1)/(bloomUnit*8)) * bloomUnit
}

// salts spread the low half of a hash over the eight words of a bloom block; they are Parquet's (BloomFilter.md).
var salts = [8]uint32{
	0x47b6137b, 0x44974d91, 0x8824ad5b, 0xa2b7289d, 0x705495c7, 0x2df1424b, 0x9efc4947, 0x5c6bfb31,
}

func bloomBlock(filter []byte, h uint64) []byte {
	blocks := uint64(len(filter) / bloomUnit)
	i := (h >> 32) * blocks >> 32
	return filter[i*bloomUnit : (i+1)*bloomUnit]
}

func bloomAdd(filter []byte, h uint64) {
	b := bloomBlock(filter, h)
	for i, s := range salts {
		w := binary.LittleEndian.Uint32(b[4*i:]) | 1<<(uint32(h)*s>>27) //nolint:gosec // the low half
		binary.LittleEndian.PutUint32(b[4*i:], w)
	}
}

func bloomHas(filter []byte, h uint64) bool {
	b := bloomBlock(filter, h)
	for i, s := range salts {
		if binary.LittleEndian.Uint32(b[4*i:])&(1<<(uint32(h)*s>>27)) == 0 { //nolint:gosec // the low half
			return false
		}
	}
	return true
}

// Traces reads a traces.idx. It does not close what it reads from.
type Traces struct {
	r      io.ReaderAt
	name   string
	count  int
	filter []byte
	keys   []byte    // first 8 bytes of the first id of each page
	cache  PageCache // may be nil
}

// OpenTraces reads and checks the parts of traces.idx that stay in memory. size is the length of the file, which must
// hold want traces.
func OpenTraces(r io.ReaderAt, name string, size int64, want int) (*Traces, error) {
	t := &Traces{r: r, name: name}
	if size < footerSize {
		return nil, t.corrupt(0, fmt.Errorf("file of %d bytes is too short", size))
	}
	var footer [footerSize]byte
	if err := t.read(footer[:], size-footerSize); err != nil {
		return nil, err
	}
	le := binary.LittleEndian
	if got := crc32.Checksum(footer[:36], castagnoli); got != le.Uint32(footer[36:]) || [8]byte(footer[28:36]) != footerMagic {
		return nil, t.corrupt(size-footerSize, errors.New("footer is damaged or of another version"))
	}
	count, filter, keys := le.Uint64(footer[0:]), le.Uint64(footer[8:]), le.Uint64(footer[16:])
	pages := (count + pageEntries - 1) / pageEntries
	if count != uint64(want) || filter != uint64(bloomBytes(want)) || keys != 8*pages ||
		uint64(size) != pages*pageSize+filter+keys+footerSize {
		return nil, t.corrupt(size-footerSize, fmt.Errorf("%d traces do not fit %d bytes", count, size))
	}
	buf := make([]byte, filter+keys)
	at := int64(pages * pageSize) //nolint:gosec // bounded by size
	if err := t.read(buf, at); err != nil {
		return nil, err
	}
	if got := crc32.Checksum(buf, castagnoli); got != le.Uint32(footer[24:]) {
		return nil, t.corrupt(at, fmt.Errorf("checksum of bloom filter and keys is %08x, want %08x", got, le.Uint32(footer[24:])))
	}
	t.count, t.filter, t.keys = want, buf[:filter:filter], buf[filter:]
	return t, nil
}

func (t *Traces) corrupt(off int64, err error) error {
	return &store.CorruptionError{Path: t.name, Offset: off, Err: err}
}

func (t *Traces) read(b []byte, off int64) error {
	n, err := t.r.ReadAt(b, off)
	if n == len(b) {
		return nil
	}
	if err == nil || errors.Is(err, io.EOF) {
		return t.corrupt(off, fmt.Errorf("file ends %d bytes too early", len(b)-n))
	}
	return fmt.Errorf("read %s at byte %d: %w", t.name, off, err)
}

// Len returns the number of traces.
func (t *Traces) Len() int { return t.count }

// Bytes returns the memory that the index takes.
func (t *Traces) Bytes() int64 { return int64(len(t.filter) + len(t.keys)) }

// MayHave reports false only if the trace is not in the index, without reading the file.
func (t *Traces) MayHave(id spanid.TraceID) bool { return bloomHas(t.filter, id.Hash()) }

// Find returns the entry of a trace.
func (t *Traces) Find(id spanid.TraceID) (e Trace, ok bool, err error) {
	if !t.MayHave(id) {
		return e, false, nil
	}
	// The page whose first key is the last not above the id. Ids may share their first 8 bytes over several pages.
	for page := t.lastKey(id); page >= 0; page-- {
		buf, err := t.kept(page)
		if err != nil {
			return e, false, err
		}
		i, found := search(buf[:t.entries(page)*entrySize], id)
		if found {
			return getEntry(buf[i*entrySize:]), true, nil
		}
		if i > 0 || !bytes.Equal(t.keys[8*page:8*page+8], id[:8]) {
			return e, false, nil
		}
	}
	return e, false, nil
}

// Page is a page of the file, checked.
type Page [pageSize]byte

// PageCache keeps pages that traces were looked up in: the traces of a query share many. It is safe for concurrent use.
type PageCache interface {
	Get(page int) (*Page, bool)
	Put(page int, p *Page)
}

// Keep lets Find keep pages in a cache. It must be called before the first Find.
func (t *Traces) Keep(c PageCache) { t.cache = c }

// kept returns a page from the cache, or reads it.
func (t *Traces) kept(page int) (*Page, error) {
	if t.cache != nil {
		if p, ok := t.cache.Get(page); ok {
			return p, nil
		}
	}
	p := new(Page)
	if err := t.readPage(page, p); err != nil {
		return nil, err
	}
	if t.cache != nil {
		t.cache.Put(page, p)
	}
	return p, nil
}

// search finds the entry of a trace in those of a page, which are not decoded for it. Without one it returns the place
// where it would be.
func search(entries []byte, id spanid.TraceID) (i int, found bool) {
	return sort.Find(len(entries)/entrySize, func(i int) int {
		return bytes.Compare(id[:], entries[i*entrySize:i*entrySize+len(id)])
	})
}

// lastKey returns the last page whose first key is not above the id, or -1.
func (t *Traces) lastKey(id spanid.TraceID) int {
	lo, hi := 0, t.Pages()
	for lo < hi {
		mid := (lo + hi) / 2
		if bytes.Compare(t.keys[8*mid:8*mid+8], id[:8]) <= 0 {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	return lo - 1
}

// Pages returns the number of pages.
func (t *Traces) Pages() int { return len(t.keys) / 8 }

// Page appends the entries of a page to dst, in the order of their ids.
func (t *Traces) Page(page int, dst []Trace) ([]Trace, error) {
	buf := pages.Get().(*Page) //nolint:forcetypeassert // it makes nothing else
	defer pages.Put(buf)
	if err := t.readPage(page, buf); err != nil {
		return nil, err
	}
	n := t.entries(page)
	dst = slices.Grow(dst, n)
	for i := range n {
		dst = append(dst, getEntry(buf[i*entrySize:]))
	}
	return dst, nil
}

// pages holds memory for pages that are looked at and not kept.
var pages = sync.Pool{New: func() any { return new(Page) }}

// entries returns how many entries a page has.
func (t *Traces) entries(page int) int { return min(pageEntries, t.count-page*pageEntries) }

// readPage reads and checks a page.
func (t *Traces) readPage(page int, buf *Page) error {
	off := int64(page) * pageSize
	if err := t.read(buf[:], off); err != nil {
		return err
	}
	if got, want := crc32.Checksum(buf[:pageSize-4], castagnoli), binary.LittleEndian.Uint32(buf[pageSize-4:]); got != want {
		return t.corrupt(off, fmt.Errorf("checksum of the page is %08x, want %08x", got, want))
	}
	return nil
}

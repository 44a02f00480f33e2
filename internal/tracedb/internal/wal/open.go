package wal

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/bramble-tracing/bramble/internal/fsx"
	"github.com/bramble-tracing/bramble/internal/store"
)

// Torn is what Open cut off: records that were being written when the machine or the process stopped.
type Torn struct {
	Path  string // of the segment; empty if there was nothing to cut
	Bytes int64
}

// Open opens the log in dir, which holds nothing else, and creates it if it does not exist. It cuts a torn tail off
// the newest segment. It fails if a segment has an unknown format version (ErrVersion), is not a file, or cannot be
// read; it never removes a segment that could hold a record.
func Open(fsys fsx.FS, dir string, opts Options) (*WAL, error) {
	if err := opts.setDefaults(); err != nil {
		return nil, fmt.Errorf("open WAL %s: %w", dir, err)
	}
	w := &WAL{
		fs: fsys, dir: dir, opts: opts,
		q:     queue{wake: make(chan struct{}, 1)},
		dirty: make(chan struct{}, 1), stop: make(chan struct{}),
	}
	w.idle = sync.NewCond(&w.mu)
	if err := w.load(); err != nil {
		if errors.Is(err, fs.ErrPermission) {
			err = fmt.Errorf("%w: the process needs to read and write the directory and its files", err)
		}
		return nil, fmt.Errorf("open WAL %s: %w", dir, err)
	}
	w.wg.Add(1)
	go w.commitLoop()
	if opts.Sync == SyncInterval {
		w.wg.Add(1)
		go w.syncLoop()
	}
	return w, nil
}

// load finds out what is there and repairs it.
func (w *WAL) load() error {
	if err := fsx.MkdirAllSync(w.fs, w.dir); err != nil {
		return err
	}
	numbers, err := w.list()
	if err != nil {
		return err
	}
	for _, n := range numbers {
		s, err := w.loadSegment(n)
		if err != nil {
			return err
		}
		w.segs = append(w.segs, s)
	}
	w.nextNumber = 1
	if len(numbers) > 0 {
		w.nextNumber = numbers[len(numbers)-1] + 1
	}
	if w.prevSeq, err = w.repair(); err != nil {
		return err
	}
	w.syncedSeq = w.prevSeq
	w.nextSeq = max(w.prevSeq+1, w.opts.FirstSeq)
	if len(w.segs) > 0 {
		// An earlier FirstSeq holds on, also if no record followed.
		w.nextSeq = max(w.nextSeq, w.segs[len(w.segs)-1].firstSeq)
	}
	return nil
}

// list returns the numbers of the segments in ascending order and removes leftover temporary files.
func (w *WAL) list() ([]uint64, error) {
	entries, err := w.fs.ReadDir(w.dir)
	if err != nil {
		return nil, err
	}
	var numbers []uint64
	for _, e := range entries {
		n, ok := parseSegmentName(e.Name)
		path := filepath.Join(w.dir, e.Name)
		switch {
		case ok && e.Dir:
			return nil, fmt.Errorf("%s is a directory where a segment should be: move it away", path)
		case ok:
			numbers = append(numbers, n)
		case !e.Dir && strings.HasSuffix(e.Name, fsx.TempSuffix):
			if err := w.fs.Remove(path); err != nil {
				return nil, fmt.Errorf("remove leftover file: %w", err)
			}
		}
	}
	slices.Sort(numbers)
	return numbers, nil
}

// loadSegment reads a segment's header. Damage is kept in the result; a segment that is not for us is an error.
func (w *WAL) loadSegment(number uint64) (segment, error) {
	s := segment{segmentHeader: segmentHeader{number: number}}
	f, err := w.fs.Open(w.path(number))
	if err != nil {
		return s, err
	}
	defer f.Close() //nolint:errcheck // It was only read.
	if s.size, err = f.Size(); err != nil {
		return s, err
	}
	head := make([]byte, min(segmentHeaderBytes, s.size))
	if _, err := f.ReadAt(head, 0); err != nil && !errors.Is(err, io.EOF) {
		return s, fmt.Errorf("read header of %s: %w", w.path(number), err)
	}
	h, err := decodeHeader(head, number)
	switch {
	case errors.Is(err, ErrVersion):
		return s, fmt.Errorf("segment %s: %w", w.path(number), err)
	case s.size > MaxSegmentBytes:
		return s, fmt.Errorf("segment %s has %d bytes, more than the %d that a segment can have", w.path(number), s.size, int64(MaxSegmentBytes))
	case err != nil:
		s.damaged = err
		if mayBeNewer(head) {
			return s, w.refuseNewer(s, f, head)
		}
		return s, w.inferHeader(&s, f)
	}
	s.segmentHeader = h
	return s, nil
}

// mayBeNewer reports whether a damaged header could be one that a newer version wrote in a way we do not know. One
// that is cut short, also where the rest is zeros, is torn.
func mayBeNewer(head []byte) bool {
	return len(head) == segmentHeaderBytes && bytes.HasPrefix(head, []byte(magic)) &&
		binary.LittleEndian.Uint16(head[8:]) > version
}

// refuseNewer returns an error unless the segment holds records of our format.
func (w *WAL) refuseNewer(s segment, f fsx.File, head []byte) error {
	seq, err := firstRecord(f, s)
	if err == nil && seq == 0 {
		err = fmt.Errorf("segment %s: %w %d, or damaged: use the version that wrote it, or move it away",
			w.path(s.number), ErrVersion, binary.LittleEndian.Uint16(head[8:]))
	}
	return err
}

// inferHeader takes what the damaged header would have said from the first record.
func (w *WAL) inferHeader(s *segment, f fsx.File) error {
	seq, err := firstRecord(f, *s)
	if err == nil && seq > 0 {
		s.firstSeq, s.prevSeq = seq, seq-1
	}
	return err
}

// firstRecord returns the number of the first intact record, or 0.
func firstRecord(f fsx.File, s segment) (uint64, error) {
	rec, err := newSegmentReader(f, s.size, s.number, func(int64, error) {}).next()
	if errors.Is(err, io.EOF) {
		return 0, nil
	}
	return rec.seq, err
}

// repair cuts the torn tail of the newest segment and removes it if it was never completely created. It returns the
// number of the newest record.
func (w *WAL) repair() (uint64, error) {
	for len(w.segs) > 0 {
		s := &w.segs[len(w.segs)-1]
		last, end, err := w.scan(*s)
		if err != nil {
			return 0, err
		}
		if s.damaged != nil && last == 0 {
			// Its header is synced before a record is written: the crash came before that.
			if err := w.removeTorn(*s); err != nil {
				return 0, err
			}
			w.nextNumber = s.number
			w.segs = w.segs[:len(w.segs)-1]
			continue
		}
		if err := w.cut(s, end); err != nil {
			return 0, err
		}
		return max(last, s.prevSeq), nil
	}
	return 0, nil
}

// scan returns the number of the newest intact record of a segment, 0 if there is none, and where the last one ends.
func (w *WAL) scan(s segment) (last uint64, end int64, err error) {
	f, err := w.fs.Open(w.path(s.number))
	if err != nil {
		return 0, 0, err
	}
	defer f.Close() //nolint:errcheck // It was only read.
	r := newSegmentReader(f, s.size, s.number, func(int64, error) {})
	for {
		rec, err := r.next()
		if errors.Is(err, io.EOF) {
			return last, r.end, nil
		}
		if err != nil {
			return 0, 0, fmt.Errorf("read %s: %w", w.path(s.number), err)
		}
		last = max(last, rec.seq)
	}
}

func (w *WAL) removeTorn(s segment) error {
	path := w.path(s.number)
	if err := w.fs.Remove(path); err != nil {
		return fmt.Errorf("remove torn segment: %w", err)
	}
	if err := w.fs.SyncDir(w.dir); err != nil {
		return fmt.Errorf("remove torn segment %s: %w", path, err)
	}
	w.addTorn(path, s.size)
	return nil
}

// cut truncates a segment to end, durably: what follows it must not look like a torn tail once there are newer ones.
func (w *WAL) cut(s *segment, end int64) error {
	if end >= s.size {
		return nil
	}
	path := w.path(s.number)
	f, err := w.fs.OpenReadWrite(path)
	if err != nil {
		return fmt.Errorf("cut torn tail: %w", err)
	}
	err = f.Truncate(end)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("cut torn tail of %s at byte %d: %w", path, end, err)
	}
	w.addTorn(path, s.size-end)
	s.size = end
	return nil
}

func (w *WAL) addTorn(path string, n int64) {
	w.torn.Path = path
	w.torn.Bytes += n
	w.event(Event{Kind: TornTail, Path: path, Bytes: n})
}

// corruption names damage in a segment.
func (w *WAL) corruption(number uint64, off int64, err error) *store.CorruptionError {
	return &store.CorruptionError{Path: w.path(number), Offset: off, Err: err}
}

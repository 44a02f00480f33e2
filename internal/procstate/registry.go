package procstate

import (
	"errors"
	"fmt"
	"maps"
	"sync"
	"time"
)

// Registry keeps shared values by key. The zero value is ready to use. It is safe for concurrent use.
type Registry struct {
	mu      sync.Mutex
	grace   time.Duration
	entries map[string]*entry
}

// Default is the registry of the process.
var Default Registry

// Opened is what an open function hands over: the value and how to close it.
type Opened struct {
	Value any
	Close func() error
}

// entry is one key. Its lock is held while the value is opened or closed.
type entry struct {
	mu          sync.Mutex
	opened      *Opened
	fingerprint string
	refs        int
	timer       *time.Timer
	// idle counts the times that the entry became unused, so that a timer of an earlier time does nothing.
	idle int
}

// SetGrace sets for how long a value without users stays open. It holds for later releases.
func (r *Registry) SetGrace(d time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.grace = d
}

// Acquire returns the value of key, opening it if there is none. fingerprint identifies the settings it is opened
// with: an unused value with another fingerprint is closed and opened anew, one that is in use is an error. release
// must be called once; it returns the error of closing if it closed the value.
func (r *Registry) Acquire(key, fingerprint string, open func() (Opened, error)) (value any, release func() error, err error) {
	e := r.entry(key)
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.timer != nil {
		e.timer.Stop()
		e.timer = nil
	}
	if e.opened != nil && e.fingerprint != fingerprint {
		if e.refs > 0 {
			return nil, nil, fmt.Errorf("%s is in use with other settings: give both users the same", key)
		}
		if err := e.close(); err != nil {
			return nil, nil, fmt.Errorf("close %s to apply its new settings: %w", key, err)
		}
	}
	if e.opened == nil {
		o, err := open()
		if err != nil {
			return nil, nil, err
		}
		e.opened, e.fingerprint = &o, fingerprint
	}
	e.refs++
	var once sync.Once
	return e.opened.Value, func() (err error) {
		once.Do(func() { err = r.release(e) })
		return err
	}, nil
}

// CloseAll closes every value that has no users, without waiting for its grace period. Values in use are left and
// reported in the error.
func (r *Registry) CloseAll() error {
	r.mu.Lock()
	entries := maps.Clone(r.entries)
	r.mu.Unlock()
	var errs []error
	for k, e := range entries {
		e.mu.Lock()
		switch {
		case e.refs > 0:
			errs = append(errs, fmt.Errorf("%s is still in use", k))
		case e.opened != nil:
			if err := e.close(); err != nil {
				errs = append(errs, fmt.Errorf("close %s: %w", k, err))
			}
		}
		e.mu.Unlock()
	}
	return errors.Join(errs...)
}

// CloseIdle closes the values without users whose keys match, without waiting for their grace period. Those that are being
// opened or closed at the moment are left.
func (r *Registry) CloseIdle(match func(key string) bool) error {
	r.mu.Lock()
	entries := maps.Clone(r.entries)
	r.mu.Unlock()
	var errs []error
	for k, e := range entries {
		// The caller may be opening a value, with the lock of its entry held, and so may others that call this.
		if !match(k) || !e.mu.TryLock() {
			continue
		}
		if e.refs == 0 && e.opened != nil {
			if err := e.close(); err != nil {
				errs = append(errs, fmt.Errorf("close %s: %w", k, err))
			}
		}
		e.mu.Unlock()
	}
	return errors.Join(errs...)
}

func (r *Registry) entry(key string) *entry {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.entries == nil {
		r.entries = make(map[string]*entry)
	}
	e := r.entries[key]
	if e == nil {
		e = &entry{}
		r.entries[key] = e
	}
	return e
}

func (r *Registry) release(e *entry) error {
	r.mu.Lock()
	grace := r.grace
	r.mu.Unlock()
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.refs--; e.refs > 0 {
		return nil
	}
	if grace <= 0 {
		return e.close()
	}
	e.idle++
	idle := e.idle
	e.timer = time.AfterFunc(grace, func() {
		e.mu.Lock()
		defer e.mu.Unlock()
		if e.refs == 0 && e.idle == idle && e.opened != nil {
			// Nobody is left to tell; the value reports its own trouble (the store's event listener).
			_ = e.close()
		}
	})
	return nil
}

// close closes the value. e.mu is held.
func (e *entry) close() error {
	if e.timer != nil {
		e.timer.Stop()
		e.timer = nil
	}
	o := e.opened
	e.opened = nil
	if o == nil || o.Close == nil {
		return nil
	}
	return o.Close()
}

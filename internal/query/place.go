package query

import "context"

// place is one that an admission has given to a query.
type place struct {
	in     *admission
	client string
	lost   bool
}

// lend lets others have the place while f waits for something, and waits for a place then. If there is an error the query
// has no place any more and has to end. The context of f ends also when the admission is closed.
func (p *place) lend(ctx context.Context, f func(ctx context.Context) error) error {
	a := p.in
	a.mu.Lock()
	a.free(p.client)
	a.lent++
	a.mu.Unlock()
	err := p.closing(ctx, f)
	if err == nil {
		err = a.acquire(ctx, p.client)
	}
	if p.lost = err != nil; p.lost {
		return err // It counts as one who has lent its place until it leaves: it still holds what it reads.
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.lent--
	return nil
}

// closing calls f with a context that ends when the admission is closed.
func (p *place) closing(ctx context.Context, f func(ctx context.Context) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	done := make(chan struct{})
	defer close(done)
	go func() {
		select {
		case <-p.in.closing:
			cancel(ErrClosing)
		case <-done:
		}
	}()
	return f(ctx)
}

// leave gives the place back.
func (p *place) leave() {
	if !p.lost {
		p.in.leave(p.client)
		return
	}
	p.in.mu.Lock()
	defer p.in.mu.Unlock()
	p.in.lent--
	p.in.ifIdle()
}

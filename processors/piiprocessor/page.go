package piiprocessor

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"text/tabwriter"
	"time"

	"go.opentelemetry.io/collector/component"

	"github.com/bramble-tracing/bramble/internal/pii"
	"github.com/bramble-tracing/bramble/internal/procstate"
	"github.com/bramble-tracing/bramble/internal/webmount"
)

const (
	// pagePrefix is where the page is on the query port.
	pagePrefix = "/status/pii"
	// pagesKey is the key of the pages in procstate.
	pagesKey = "pii/pages"
)

// pages counts the processors that show the page on an extension: a configuration has one processor per pipeline and
// name, and the page shows all of them.
type pages struct {
	mu     sync.Mutex
	shared map[webmount.Mounter]*shared
}

type shared struct {
	users   int
	unmount func()
}

// mountPage makes the page reachable on each extension of the host that shows pages; there may be none. The returned
// function takes it away when the last processor calls it.
func mountPage(host component.Host, board *pii.Board) (unmount func() error, err error) {
	value, release, err := procstate.Default.Acquire(pagesKey, "", func() (procstate.Opened, error) {
		return procstate.Opened{Value: &pages{shared: map[webmount.Mounter]*shared{}}}, nil
	})
	if err != nil {
		return nil, fmt.Errorf("find the pages of pii: %w", err)
	}
	p := value.(*pages)
	var mounted []webmount.Mounter
	unmount = func() error {
		for _, m := range mounted {
			p.leave(m)
		}
		return release()
	}
	for _, ext := range host.GetExtensions() {
		m, ok := ext.(webmount.Mounter)
		if !ok {
			continue
		}
		if err := p.join(m, board); err != nil {
			return nil, errors.Join(err, unmount())
		}
		mounted = append(mounted, m)
	}
	return unmount, nil
}

func (p *pages) join(m webmount.Mounter, board *pii.Board) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.shared[m]
	if s == nil {
		unmount, err := m.Mount(webmount.Mount{
			Prefix: pagePrefix, Handler: page{board}, Description: "what pii processors look for and have found; JSON with ?format=json",
		})
		if err != nil {
			return fmt.Errorf("show the status of pii: %w", err)
		}
		s = &shared{unmount: unmount}
		p.shared[m] = s
	}
	s.users++
	return nil
}

// leave waits for requests in progress if the caller was the last.
func (p *pages) leave(m webmount.Mounter) {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.shared[m]
	if s.users--; s.users == 0 {
		delete(p.shared, m)
		s.unmount()
	}
}

// page shows the board: rules, hits and shapes of what was found, never values.
type page struct{ board *pii.Board }

// ServeHTTP answers in text, or in JSON to ?format=json and to clients that accept JSON and do not mention text.
func (p page) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path != pagePrefix {
		http.NotFound(w, r)
		return
	}
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		http.Error(w, "the page is only read: use GET", http.StatusMethodNotAllowed)
		return
	}
	format := r.URL.Query().Get("format")
	if accept := r.Header.Get("Accept"); format == "" && strings.Contains(accept, "application/json") && !strings.Contains(accept, "text/") {
		format = "json"
	}
	snapshots := p.board.Snapshots()
	var b bytes.Buffer
	switch format {
	case "", "text":
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		for _, s := range snapshots {
			writeSnapshot(&b, &s)
		}
	case "json":
		w.Header().Set("Content-Type", "application/json")
		if err := json.NewEncoder(&b).Encode(map[string]any{"processors": snapshots}); err != nil {
			http.Error(w, fmt.Sprintf("encode the status: %v", err), http.StatusInternalServerError)
			return
		}
	default:
		http.Error(w, "format: must be text or json", http.StatusBadRequest)
		return
	}
	w.Header().Set("X-Content-Type-Options", "nosniff")
	// The client that does not read has gone.
	_, _ = w.Write(b.Bytes())
}

func writeSnapshot(w io.Writer, s *pii.Snapshot) {
	fmt.Fprintf(w, "%s: mode %s, rules in use since %s", s.Component, s.Mode, s.Loaded.UTC().Format(time.RFC3339))
	if s.RulesFile != "" {
		fmt.Fprintf(w, ", from %s", s.RulesFile)
	}
	fmt.Fprintf(w, "\nspans dropped: %d, values dropped because they are nested too deeply: %d, rule files refused: %d\n",
		s.DroppedSpans, s.DroppedDeep, s.Refused)
	if s.Problem != "" {
		fmt.Fprintf(w, "the rule file as it is now is not in use: %s\n", s.Problem)
	}
	if s.Mode == modeReport {
		fmt.Fprintln(w, "mode report: nothing was changed, hits are what would have been")
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(t, "RULE\tON\tACTION\tLOOKS AT\tHITS\tIN\tSERVICES\tSHAPES\n")
	for i := range s.Rules {
		r := &s.Rules[i]
		on := "off"
		if r.Enabled {
			on = "on"
		}
		places := "everything"
		if len(r.Places) > 0 {
			places = strings.Join(r.Places, " ")
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%d\t%s\t%s\t%s\n", r.Name, on, r.Action, places, r.Hits, counts(r.ByPlace), counts(r.ByService), strings.Join(r.Shapes, "  "))
	}
	_ = t.Flush() // To memory.
	fmt.Fprintln(w)
}

// shown is how many services a line of the text names; JSON has all of them.
const shown = 5

// counts lists the greatest numbers with their names, which clients have chosen.
func counts(m map[string]uint64) string {
	names := slices.SortedFunc(maps.Keys(m), func(a, b string) int { return cmp.Or(cmp.Compare(m[b], m[a]), cmp.Compare(a, b)) })
	var b strings.Builder
	for i, n := range names {
		if i == shown {
			fmt.Fprintf(&b, " and %d more", len(names)-i)
			break
		}
		if i > 0 {
			b.WriteByte(' ')
		}
		if n == "" || strings.ContainsFunc(n, func(r rune) bool { return r == ' ' || !strconv.IsPrint(r) }) {
			n = strconv.Quote(n)
		}
		fmt.Fprintf(&b, "%s=%d", n, m[names[i]])
	}
	return b.String()
}

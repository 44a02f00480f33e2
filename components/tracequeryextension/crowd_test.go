package tracequeryextension

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestManyConnections opens thousands of connections that ask, stay, and ask again; everybody is answered, and nothing
// is left when they are gone.
func TestManyConnections(t *testing.T) {
	n := 300
	if os.Getenv("BRAMBLE_FULL") != "" {
		n = 8000 // Both ends are in this process: two file descriptors each.
	}
	e := start(t, someTrace(t), nil)
	before := runtime.NumGoroutine()
	conns := make([]net.Conn, n)
	for i := range conns {
		conns[i] = dial(t, e.addr)
	}
	for range 2 {
		var wg sync.WaitGroup
		errs := make(chan error, n)
		for _, c := range conns {
			wg.Go(func() { errs <- ask(c, "/api/v2/traces/"+testID.String()) })
		}
		wg.Wait()
		close(errs)
		for err := range errs {
			require.NoError(t, err)
		}
	}
	for _, c := range conns {
		require.NoError(t, c.Close())
	}
	require.Eventually(t, func() bool { return runtime.NumGoroutine() <= before+5 }, 20*time.Second, 10*time.Millisecond, "goroutines stay behind")
}

// ask sends one request on a connection and expects an answer, or to be told to wait.
func ask(c net.Conn, path string) error {
	if err := c.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		return err
	}
	if _, err := fmt.Fprintf(c, "GET %s HTTP/1.1\r\nHost: x\r\n\r\n", path); err != nil {
		return err
	}
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK && resp.StatusCode != http.StatusTooManyRequests {
		return fmt.Errorf("answer %d", resp.StatusCode)
	}
	return nil
}

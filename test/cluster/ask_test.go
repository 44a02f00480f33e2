package cluster

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/bramble-tracing/bramble/internal/federation"
	"github.com/bramble-tracing/bramble/internal/federation/peerpb"
	"github.com/bramble-tracing/bramble/internal/query"
	"github.com/bramble-tracing/bramble/test/harness"
)

// BenchmarkAsk measures what asking another process costs, each of the two with a core of its own, from what the kernel
// takes up to a whole request at an agent with a peer: so it can be told which part is whose. It needs
// BRAMBLE_BENCH_CORES=own. BRAMBLE_BENCH_PROFILES is a directory for CPU profiles. bench/results.md has the results.
//
//   - kernel: 64 bytes there and back over TCP, with blocking system calls. Nothing on TCP is faster.
//   - net: the same with Go's net package, whose waiting goroutines are woken by the poller.
//   - grpc: the call Hello at a grpc.Server that does nothing else, with gRPC's own settings.
//   - tuned: the same with the settings of agents.
//   - stream: a question and an answer of the service Lines, on a stream that stays open, as agents ask each other.
//   - hello: the call Hello at an agent.
//   - names: a call for names of attributes of scope span at an agent with few spans, which takes it microseconds.
//   - alone and with peer: the same question over HTTP, asked of an agent that has no peer and of one that has. The
//     difference is what having a peer costs.
//
// All but the last two are asked without a pause and, "rested", with one in which the asking process computes: a processor that
// has been idle for a while takes longer to wake up, and that of a peer has been.
func BenchmarkAsk(b *testing.B) {
	place := coresFromEnv(b)
	if !place.own {
		b.Skip("BRAMBLE_BENCH_CORES=own is not set")
	}
	for _, kind := range []string{"kernel", "net", "grpc", "tuned", "stream"} {
		askFrom(b, place, kind, func(b *testing.B) (int, string) {
			s := startSelf(b, place.others, "answer", kind)
			return s.cmd.Process.Pid, s.line
		})
	}
	one := harness.Start(b, harness.Config{Files: []string{direct}, Overlay: profiled, Wrap: place.first})
	two := harness.StartClusterAt(b, place.of(2), harness.Config{Files: layouts["routed"], Overlay: profiled})
	const few = 2000
	ingest(b, few, "one agent", []*harness.Bramble{one}, one.GRPC())
	ingest(b, few, "two agents", two.Agents, two.Agents[0].GRPC(), two.Agents[1].GRPC())
	peer := two.Agents[1]
	for _, kind := range []string{"hello", "names"} {
		askFrom(b, place, kind, func(*testing.B) (int, string) { return peer.PID(), peer.Addr("extensions::trace_query::peers::server") })
	}
	for _, c := range []struct {
		name  string
		asked *harness.Bramble
	}{{"alone", one}, {"with peer", two.Agents[0]}} {
		b.Run(c.name, func(b *testing.B) {
			profile(b, c.name, map[string]*harness.Bramble{"asked": c.asked, "peer": peer})
			before := [2]time.Duration{cpuOf(b, c.asked.PID()), cpuOf(b, peer.PID())}
			var took []time.Duration
			for b.Loop() {
				start := time.Now()
				r := c.asked.Get("/api/v2/search/tags?scope=span")
				took = append(took, time.Since(start))
				require.Equal(b, 200, r.Status, "%s", r.Body)
			}
			reportAsked(b, took, cpuOf(b, c.asked.PID())-before[0], cpuOf(b, peer.PID())-before[1])
		})
	}
}

// reportAsked reports the times of questions and the CPU time of both sides.
func reportAsked(b *testing.B, took []time.Duration, asking, answering time.Duration) {
	b.Helper()
	n := float64(len(took))
	slices.Sort(took)
	b.ReportMetric(us(took[len(took)/2]), "p50-us")
	b.ReportMetric(us(took[len(took)*99/100]), "p99-us")
	b.ReportMetric(us(asking)/n, "asking-cpu-us")
	b.ReportMetric(us(answering)/n, "answering-cpu-us")
	b.ReportMetric(0, "ns/op") // Starting a process, or pauses, are part of it.
}

func us(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1000 }

// selfRole is the variable that makes this program a side of BenchmarkAsk: its value is the side and its arguments.
const selfRole = "BRAMBLE_BENCH_ASK"

// self is this program once more, as a side of BenchmarkAsk.
type self struct {
	cmd  *exec.Cmd
	line string // The first that it wrote.
}

// startSelf starts this program as a side and waits for a line of it. It ends with the benchmark.
func startSelf(b *testing.B, wrap []string, role ...string) *self {
	b.Helper()
	exe, err := os.Executable()
	require.NoError(b, err)
	line := append(slices.Clone(wrap), exe)
	s := &self{cmd: exec.Command(line[0], line[1:]...)} //nolint:gosec // This program.
	s.cmd.Env = append(os.Environ(), selfRole+"="+strings.Join(role, " "))
	s.cmd.Stderr = os.Stderr
	in, err := s.cmd.StdinPipe()
	require.NoError(b, err)
	out, err := s.cmd.StdoutPipe()
	require.NoError(b, err)
	require.NoError(b, s.cmd.Start())
	b.Cleanup(func() {
		_ = in.Close() // It ends then.
		_ = s.cmd.Wait()
	})
	s.line, err = bufio.NewReader(out).ReadString('\n')
	require.NoError(b, err)
	s.line = strings.TrimSuffix(s.line, "\n")
	return s
}

// asked is what an asking process says.
type asked struct {
	Took []time.Duration
	CPU  time.Duration
}

// askFrom lets another process ask b.N times, without and with a pause. start starts who answers.
func askFrom(b *testing.B, place cores, kind string, start func(b *testing.B) (pid int, addr string)) {
	b.Helper()
	const rest = 500 * time.Microsecond
	for _, pause := range []time.Duration{0, rest} {
		name := kind
		if pause > 0 {
			name += " rested"
		}
		b.Run(name, func(b *testing.B) {
			pid, addr := start(b)
			before := cpuOf(b, pid)
			s := startSelf(b, place.first, "ask", kind, addr, strconv.Itoa(b.N), pause.String())
			var res asked
			require.NoError(b, json.Unmarshal([]byte(s.line), &res), "%s", s.line)
			reportAsked(b, res.Took, res.CPU, cpuOf(b, pid)-before)
		})
	}
}

// messageBytes is about as large as our smallest questions and answers.
const messageBytes = 64

// side is what a process of BenchmarkAsk does; it returns at the end of its input.
func side(role []string) error {
	if role[0] == "ask" {
		n, err := strconv.Atoi(role[3])
		if err != nil {
			return err
		}
		pause, err := time.ParseDuration(role[4])
		if err != nil {
			return err
		}
		return ask(role[1], role[2], n, pause)
	}
	l, err := net.Listen("tcp", "127.0.0.2:0")
	if err != nil {
		return err
	}
	switch role[1] {
	case "grpc", "tuned", "stream":
		var o []grpc.ServerOption
		if role[1] != "grpc" {
			o = federation.ServerOptions()
		}
		s := grpc.NewServer(o...)
		peerpb.RegisterPeerServer(s, bare{})
		peerpb.RegisterLinesServer(s, bareLines{})
		go func() { _ = s.Serve(l) }()
	default:
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				rw := transport(role[1], c)
				buf := make([]byte, messageBytes)
				for err == nil {
					if _, err = io.ReadFull(rw, buf); err == nil {
						_, err = rw.Write(buf)
					}
				}
				_ = c.Close()
			}
		}()
	}
	fmt.Println(l.Addr())
	_, err = io.Copy(io.Discard, os.Stdin)
	return err
}

// bare is a server that does nothing but answer.
type bare struct{ peerpb.UnimplementedPeerServer }

// Hello implements peerpb.PeerServer.
func (bare) Hello(context.Context, *peerpb.HelloRequest) (*peerpb.HelloResponse, error) {
	return &peerpb.HelloResponse{Node: "node", Instance: "0bc86b7e-7a2b-4e2b-9a1a-2f6f7b2a53d1", Protocol: 1}, nil
}

// bareLines is the same on a stream.
type bareLines struct {
	peerpb.UnimplementedLinesServer
}

// Open implements peerpb.LinesServer.
func (bareLines) Open(stream grpc.BidiStreamingServer[peerpb.Question, peerpb.Answer]) error {
	for {
		q, err := stream.Recv()
		if err != nil {
			return err
		}
		if err := stream.Send(&peerpb.Answer{Response: q.GetRequest(), End: true}); err != nil {
			return err
		}
	}
}

// transport is a connection, or for the kernel alone its blocking system calls.
func transport(kind string, c net.Conn) io.ReadWriter {
	if kind != "kernel" {
		return c
	}
	f, err := c.(*net.TCPConn).File()
	if err != nil {
		return c
	}
	fd := int(f.Fd()) // Which makes it blocking.
	return blocking{fd, f}
}

type blocking struct {
	fd int
	f  *os.File // Kept from being collected.
}

func (b blocking) Read(p []byte) (int, error)  { return syscall.Read(b.fd, p) }
func (b blocking) Write(p []byte) (int, error) { return syscall.Write(b.fd, p) }

// ask asks n times, with pauses, and prints an asked.
func ask(kind, addr string, n int, pause time.Duration) error {
	once, err := asker(kind, addr)
	if err != nil {
		return err
	}
	if err := once(); err != nil { // Connects.
		return err
	}
	res := asked{Took: make([]time.Duration, n)}
	for i := range res.Took {
		for t := time.Now(); time.Since(t) < pause; { // Computing: this processor is to stay awake.
		}
		before, start := ownCPU(), time.Now()
		if err := once(); err != nil {
			return err
		}
		res.Took[i] = time.Since(start)
		res.CPU += ownCPU() - before
	}
	return json.NewEncoder(os.Stdout).Encode(res)
}

// asker returns what asks a question and waits for the answer.
func asker(kind, addr string) (once func() error, err error) {
	if kind == "kernel" || kind == "net" {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			return nil, err
		}
		rw, buf := transport(kind, c), make([]byte, messageBytes)
		return func() error {
			if _, err := rw.Write(buf); err != nil {
				return err
			}
			_, err := io.ReadFull(rw, buf)
			return err
		}, nil
	}
	o := []grpc.DialOption{grpc.WithTransportCredentials(insecure.NewCredentials())}
	if kind != "grpc" {
		o = append(o, federation.DialOptions()...)
	}
	conn, err := grpc.NewClient(addr, o...)
	if err != nil {
		return nil, err
	}
	if kind == "stream" {
		stream, err := peerpb.NewLinesClient(conn).Open(context.Background())
		if err != nil {
			return nil, err
		}
		q := &peerpb.Question{Method: "Hello", Request: make([]byte, messageBytes), Last: true}
		return func() error {
			if err := stream.Send(q); err != nil {
				return err
			}
			_, err := stream.Recv()
			return err
		}, nil
	}
	client, peer := peerpb.NewPeerClient(conn), federation.NewPeer(conn, "node-2")
	return func() error {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if kind == "names" {
			_, err := peer.TagNames(ctx, query.TagNamesRequest{Scope: "span"}, query.Share{})
			return err
		}
		_, err := client.Hello(ctx, &peerpb.HelloRequest{Node: "me", Instance: "me"})
		return err
	}, nil
}

func ownCPU() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u) // Cannot fail.
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

package target

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// Usage is what the operating system says of a process.
type Usage struct {
	CPU       time.Duration
	RSS, Peak int64 // bytes
}

// clockTick is the unit of the times in /proc/PID/stat: USER_HZ, 100 on every Linux that Go runs on.
const clockTick = 10 * time.Millisecond

// Usage returns what the process has used so far.
func (s *Server) Usage() (Usage, error) {
	var u Usage
	pid := strconv.Itoa(s.cmd.Process.Pid)
	stat, err := os.ReadFile("/proc/" + pid + "/stat")
	if err != nil {
		return u, err
	}
	// The second field is the name in parentheses and may hold spaces: count from behind it.
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	if len(fields) < 13 {
		return u, fmt.Errorf("/proc/%s/stat has %d fields", pid, len(fields))
	}
	for _, f := range fields[11:13] { // utime and stime
		ticks, err := strconv.ParseInt(f, 10, 64)
		if err != nil {
			return u, err
		}
		u.CPU += time.Duration(ticks) * clockTick
	}
	status, err := os.ReadFile("/proc/" + pid + "/status")
	if err != nil {
		return u, err
	}
	for line := range strings.Lines(string(status)) {
		name, rest, _ := strings.Cut(line, ":")
		kb, _ := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 10, 64)
		switch name {
		case "VmRSS":
			u.RSS = kb << 10
		case "VmHWM":
			u.Peak = kb << 10
		}
	}
	return u, nil
}

// Settle waits until the server has used next to no CPU for three seconds, at most for limit, and returns what it has
// used by then.
func (s *Server) Settle(limit time.Duration) (Usage, time.Duration) {
	begin := time.Now()
	last, _ := s.Usage()
	quiet := 0
	for time.Since(begin) < limit && quiet < 3 {
		time.Sleep(time.Second)
		u, err := s.Usage()
		if err != nil {
			return last, time.Since(begin)
		}
		if u.CPU-last.CPU <= 3*clockTick {
			quiet++
		} else {
			quiet = 0
		}
		last = u
	}
	return last, time.Since(begin)
}

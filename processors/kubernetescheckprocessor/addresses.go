package kubernetescheckprocessor

import (
	"bufio"
	"encoding/binary"
	"encoding/hex"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"

	"go.opentelemetry.io/collector/client"
)

// Environment variables by which the downward API tells the node's address (status.hostIP).
var nodeIPVariables = []string{"NODE_IP", "HOST_IP", "K8S_NODE_IP"}

// nodeAddresses are those that a sender has that is not seen with a pod's address: the node's own, as far as this process
// can know them. They are the addresses of its interfaces, which with hostNetwork are the node's and otherwise its own pod's;
// the default gateway, which is the bridge of the node's pods, whose address port maps put on connections; and what the
// downward API says.
func nodeAddresses() map[netip.Addr]bool {
	out := map[netip.Addr]bool{}
	add := func(text string) {
		if a, err := netip.ParseAddr(text); err == nil {
			out[a.Unmap().WithZone("")] = true
		}
	}
	for _, name := range nodeIPVariables {
		add(os.Getenv(name))
	}
	if addrs, err := net.InterfaceAddrs(); err == nil {
		for _, a := range addrs {
			if n, ok := a.(*net.IPNet); ok {
				add(n.IP.String())
			}
		}
	}
	for file, read := range map[string]func(io.Reader) []netip.Addr{"/proc/net/route": gateways4, "/proc/net/ipv6_route": gateways6} {
		f, err := os.Open(file)
		if err != nil {
			continue // Another system than Linux, or no such protocol.
		}
		for _, a := range read(f) {
			out[a] = true
		}
		_ = f.Close() // It was only read.
	}
	return out
}

// gateways4 reads the default routes of /proc/net/route: interface, destination, gateway as hexadecimal in the order of the
// machine's bytes (proc_net(5)), which is little-endian wherever this runs.
func gateways4(r io.Reader) (out []netip.Addr) {
	const destination, gateway, zero = 1, 2, "00000000"
	for lines := bufio.NewScanner(r); lines.Scan(); {
		f := strings.Fields(lines.Text())
		if len(f) <= gateway || f[destination] != zero || f[gateway] == zero {
			continue
		}
		if b, err := hex.DecodeString(f[gateway]); err == nil && len(b) == 4 {
			var a [4]byte
			binary.BigEndian.PutUint32(a[:], binary.LittleEndian.Uint32(b))
			out = append(out, netip.AddrFrom4(a))
		}
	}
	return out
}

// gateways6 reads the default routes of /proc/net/ipv6_route: destination, its prefix, source, its prefix, next hop.
func gateways6(r io.Reader) (out []netip.Addr) {
	const destination, prefix, hop = 0, 1, 4
	zero := strings.Repeat("0", 32)
	for lines := bufio.NewScanner(r); lines.Scan(); {
		f := strings.Fields(lines.Text())
		if len(f) <= hop || f[destination] != zero || f[prefix] != "00" || f[hop] == zero {
			continue
		}
		if b, err := hex.DecodeString(f[hop]); err == nil {
			if a, ok := netip.AddrFromSlice(b); ok && a.Is6() {
				out = append(out, a.Unmap())
			}
		}
	}
	return out
}

// addressOf is where a request comes from; it is not valid if that is not known.
func addressOf(info client.Info) netip.Addr {
	if info.Addr == nil {
		return netip.Addr{}
	}
	text := info.Addr.String()
	if ap, err := netip.ParseAddrPort(text); err == nil {
		return ap.Addr().Unmap().WithZone("")
	}
	a, err := netip.ParseAddr(text)
	if err != nil {
		return netip.Addr{}
	}
	return a.Unmap().WithZone("")
}

package doctor

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"
)

// Endpoint is a port that is to answer.
type Endpoint struct {
	// Name is that of its check; From says which setting names it.
	Name, From string
	Host       string
	Port       int
	TLS        bool
	// Protocol is grpc or http. Path is what is asked for over HTTP, Prefix what stands before every path of the API.
	Protocol, Path, Prefix string
	// Write is for remote write.
	Write bool
}

// Address is host:port.
func (e *Endpoint) Address() string { return net.JoinHostPort(e.Host, strconv.Itoa(e.Port)) }

// URL is that of a path.
func (e *Endpoint) URL(path string) string {
	scheme := "http"
	if e.TLS {
		scheme = "https"
	}
	return scheme + "://" + e.Address() + path
}

// loopback says that the endpoint is on this machine, as far as its name says so.
func (e *Endpoint) loopback() bool {
	ip := net.ParseIP(e.Host)
	return e.Host == "localhost" || ip != nil && ip.IsLoopback()
}

const maxPort = 65535

// parseURL reads http://host:port/path; without a port the scheme's counts, or the one given.
func parseURL(text, from string, port int) (Endpoint, error) {
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" {
		if strings.Contains(text, "@") {
			text = "…" // There may be a password in it.
		}
		return Endpoint{}, fmt.Errorf("%s: must be a URL such as http://HOST:PORT, is %q", from, text)
	}
	if u.User != nil {
		from += ", whose user and password are not used: see --header"
	}
	e := Endpoint{From: from, Protocol: protocolHTTP, Host: u.Hostname(), Port: port, TLS: u.Scheme == "https", Path: strings.TrimRight(u.EscapedPath(), "/")}
	if p := u.Port(); p != "" {
		if e.Port, err = parsePort(p); err != nil {
			return Endpoint{}, fmt.Errorf("%s: %w", from, err)
		}
	} else if port == 0 {
		e.Port = map[string]int{"http": 80, "https": 443}[u.Scheme]
	}
	return e, nil
}

// parseAddress reads host:port of a listener or a target; what listens on all addresses is reached by loopback.
func parseAddress(text, from string) (Endpoint, error) {
	host, port, err := net.SplitHostPort(text)
	if err != nil {
		return Endpoint{}, fmt.Errorf("%s: must be host:port, is %q", from, text)
	}
	e := Endpoint{From: from, Protocol: protocolHTTP, Host: host}
	if e.Port, err = parsePort(port); err != nil {
		return Endpoint{}, fmt.Errorf("%s: %w", from, err)
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		e.Host = "localhost"
	}
	return e, nil
}

func parsePort(text string) (int, error) {
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 || n > maxPort {
		return 0, fmt.Errorf("the port must be from 1 to %d, is %q", maxPort, text)
	}
	return n, nil
}

// errNone: a setting that is not there.
var errNone = errors.New("not set")

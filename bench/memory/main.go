// Memory draws what bench/ingest -memory wrote: the resident memory of several runs over time, as SVG.
//
//	memory -o FILE NAME=FILE ...
package main

import (
	"bufio"
	"bytes"
	"errors"
	"flag"
	"fmt"
	"html"
	"os"
	"strings"
)

// Sizes of the graph, in pixels.
const (
	width, height = 720, 260
	left, right   = 60, 190
	top, bottom   = 34, 34
)

// colors are those of the lines, in the order of the arguments.
var colors = []string{"#1f77b4", "#2ca02c", "#d62728", "#9467bd"}

// run is one line of the graph.
type run struct {
	name         string
	seconds, mib []float64
}

func main() {
	out := flag.String("o", "", "SVG to write")
	title := flag.String("title", "Resident memory, MiB", "what stands above")
	flag.Parse()
	if err := draw(*out, *title, flag.Args()); err != nil {
		fmt.Fprintln(os.Stderr, "memory:", err)
		os.Exit(1)
	}
}

func draw(out, title string, args []string) error {
	if out == "" || len(args) == 0 || len(args) > len(colors) {
		return fmt.Errorf("give -o FILE and one to %d times NAME=FILE", len(colors))
	}
	runs := make([]run, 0, len(args))
	for _, a := range args {
		name, file, ok := strings.Cut(a, "=")
		if !ok {
			return fmt.Errorf("%q is not NAME=FILE", a)
		}
		r, err := read(name, file)
		if err != nil {
			return err
		}
		runs = append(runs, r)
	}
	return os.WriteFile(out, svg(title, runs), 0o600)
}

func read(name, file string) (run, error) {
	r := run{name: name}
	text, err := os.ReadFile(file)
	if err != nil {
		return r, err
	}
	lines := bufio.NewScanner(bytes.NewReader(text))
	for lines.Scan() {
		var at, mib float64
		if _, err := fmt.Sscanf(lines.Text(), "%g\t%g", &at, &mib); err != nil {
			return r, fmt.Errorf("%s: %q: %w", file, lines.Text(), err)
		}
		r.seconds, r.mib = append(r.seconds, at), append(r.mib, mib)
	}
	if len(r.mib) == 0 {
		return r, errors.New(file + " is empty")
	}
	return r, nil
}

func svg(title string, runs []run) []byte {
	last, most := 1.0, 1.0
	for _, r := range runs {
		for i := range r.mib {
			last, most = max(last, r.seconds[i]), max(most, r.mib[i])
		}
	}
	x := func(v float64) float64 { return left + v/last*(width-left-right) }
	y := func(v float64) float64 { return height - bottom - v/most*(height-top-bottom) }
	var out bytes.Buffer
	fmt.Fprintf(&out, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" font-family="sans-serif" font-size="12">`+"\n", width, height)
	out.WriteString(`<rect width="100%" height="100%" fill="white"/>` + "\n")
	fmt.Fprintf(&out, `<text x="%d" y="20" font-weight="bold">%s</text>`+"\n", left, html.EscapeString(title))
	for part := range 5 {
		v := most * float64(part) / 4
		fmt.Fprintf(&out, `<text x="%d" y="%.0f" text-anchor="end">%.0f</text>`+"\n", left-6, y(v)+4, v)
		fmt.Fprintf(&out, `<line x1="%d" y1="%.1f" x2="%d" y2="%.1f" stroke="#ccc"/>`+"\n", left, y(v), width-right, y(v))
		at := last * float64(part) / 4
		fmt.Fprintf(&out, `<text x="%.1f" y="%d" text-anchor="middle">%.0f s</text>`+"\n", x(at), height-bottom+16, at)
	}
	for i, r := range runs {
		fmt.Fprintf(&out, `<polyline fill="none" stroke="%s" stroke-width="2" points="`, colors[i])
		for j := range r.mib {
			fmt.Fprintf(&out, "%.1f,%.1f ", x(r.seconds[j]), y(r.mib[j]))
		}
		out.WriteString(`"/>` + "\n")
		fmt.Fprintf(&out, `<text x="%d" y="%d" fill="%s">%s</text>`+"\n", width-right+10, top+12+18*i, colors[i], html.EscapeString(r.name))
	}
	out.WriteString("</svg>\n")
	return out.Bytes()
}

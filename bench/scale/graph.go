package main

import (
	"bytes"
	"fmt"
	"math"
)

// Sizes of the graph, in pixels.
const (
	graphWidth, panelHeight = 720, 190
	graphLeft, graphRight   = 60, 200
	graphTop, graphBottom   = 34, 30
)

// series is a line of a panel.
type series struct {
	name, color string
	of          func(point) float64
}

// panel is a diagram over the number of spans, on a logarithmic axis.
type panel struct {
	title  string
	series []series
}

// graph draws the table as SVG: what a span costs, what reading a trace does, and what looking at a column of all spans does.
func graph(points []point) []byte {
	panels := []panel{
		{"CPU time of a span, µs", []series{
			{"store", "#1f77b4", func(p point) float64 { return p.store }}, {"merge, in all", "#d62728", func(p point) float64 { return p.merge }},
		}},
		{"CPU time of a trace by id, µs", []series{
			{"first", "#1f77b4", func(p point) float64 { return p.byID }}, {"again", "#2ca02c", func(p point) float64 { return p.byIDAgain }},
		}},
		{"CPU time of a column scan, ns a span", []series{
			{"first", "#1f77b4", func(p point) float64 { return p.scan }}, {"again", "#2ca02c", func(p point) float64 { return p.scanAgain }},
		}},
	}
	var out bytes.Buffer
	fmt.Fprintf(&out, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" font-family="sans-serif" font-size="12">`+"\n", graphWidth, len(panels)*panelHeight)
	out.WriteString(`<rect width="100%" height="100%" fill="white"/>` + "\n")
	for i := range panels {
		panels[i].draw(&out, i*panelHeight, points)
	}
	out.WriteString("</svg>\n")
	return out.Bytes()
}

func (p *panel) draw(out *bytes.Buffer, top int, points []point) {
	most := 0.0
	for _, s := range p.series {
		for _, at := range points {
			most = max(most, s.of(at))
		}
	}
	least, last := math.Log(points[0].spans), math.Log(points[len(points)-1].spans)
	x := func(at point) float64 {
		return graphLeft + (math.Log(at.spans)-least)/max(last-least, 1e-9)*(graphWidth-graphLeft-graphRight)
	}
	bottom := float64(top + panelHeight - graphBottom)
	y := func(v float64) float64 { return bottom - v/max(most, 1e-9)*(panelHeight-graphTop-graphBottom) }
	fmt.Fprintf(out, `<text x="%d" y="%d" font-weight="bold">%s</text>`+"\n", graphLeft, top+20, p.title)
	for _, v := range []float64{0, most} {
		fmt.Fprintf(out, `<text x="%d" y="%.0f" text-anchor="end">%.3g</text>`+"\n", graphLeft-6, y(v)+4, v)
		fmt.Fprintf(out, `<line x1="%d" y1="%.1f" x2="%d" y2="%.1f" stroke="#ccc"/>`+"\n", graphLeft, y(v), graphWidth-graphRight, y(v))
	}
	for _, at := range points {
		fmt.Fprintf(out, `<text x="%.1f" y="%.0f" text-anchor="middle">%.3g M</text>`+"\n", x(at), bottom+16, at.spans)
	}
	for i, s := range p.series {
		fmt.Fprintf(out, `<polyline fill="none" stroke="%s" stroke-width="2" points="`, s.color)
		for _, at := range points {
			fmt.Fprintf(out, "%.1f,%.1f ", x(at), y(s.of(at)))
		}
		out.WriteString(`"/>` + "\n")
		fmt.Fprintf(out, `<text x="%d" y="%d" fill="%s">%s</text>`+"\n", graphWidth-graphRight+10, top+graphTop+12+18*i, s.color, s.name)
	}
}

package tracequeryextension

import (
	"cmp"
	"fmt"
	"io"
	"text/tabwriter"
)

// peers writes which agents answer together with this one.
func (h *portHandler) peers(w io.Writer) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(t, "PEER\tADDRESS\tSTATE\n")
	if p := h.ext.peers; p != nil {
		for _, m := range p.peers.Members() {
			state := "does not answer: " + cmp.Or(m.Reason, "not reached yet")
			switch {
			case m.Self:
				state = "this agent"
			case m.Up:
				state = "answers"
			}
			fmt.Fprintf(t, "%s\t%s\t%s\n", m.Node, m.Address, state)
		}
		_, missing := p.peers.Peers()
		for _, m := range missing {
			fmt.Fprintf(t, "%s\t\tmissing: %s\n", m.Node, m.Reason)
		}
	} else {
		fmt.Fprintf(t, "none\t\tthis agent answers from its own store\n")
	}
	_ = t.Flush() // To memory.
	if n := h.ext.service.Notice(); n != "" {
		fmt.Fprintf(w, "notice: %s\n", n)
	}
}

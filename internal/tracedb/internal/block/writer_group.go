package block

// endGranule ends the granule in all tables, and the row group if it is large enough.
func (w *Writer) endGranule() error {
	w.spans.endGranule()
	w.events.endGranule()
	w.links.endGranule()
	w.sampling.b.EndGranule()
	w.eventRows, w.linkRows = append(w.eventRows, w.granEvents), append(w.linkRows, w.granLinks)
	w.meta.Events += w.granEvents
	w.meta.Links += w.granLinks
	w.granEvents, w.granLinks = 0, 0
	granules := w.opts.GroupGranules
	if len(w.opts.FirstGroups) > 0 {
		granules = w.opts.FirstGroups[0]
	}
	w.tellHeld()
	if len(w.spans.granules) < granules &&
		w.spans.buffered()+w.events.buffered()+w.links.buffered() < w.opts.GroupBytes {
		return nil
	}
	return w.endGroup()
}

func (w *Writer) endGroup() error {
	if len(w.opts.FirstGroups) > 0 {
		w.opts.FirstGroups = w.opts.FirstGroups[1:]
	}
	rows := 0
	for _, n := range w.spans.granules {
		rows += n
	}
	for _, t := range []*table{w.spans, w.events, w.links} {
		t.endGranule()
		w.tallies.table(t)
	}
	w.tallies.endGroup()
	g, err := w.spans.endGroup()
	if err != nil {
		return err
	}
	if err := w.sampling.write(w, g); err != nil {
		return err
	}
	if _, err := w.events.endGroup(); err != nil {
		return err
	}
	if _, err := w.links.endGroup(); err != nil {
		return err
	}
	w.meta.Groups = append(w.meta.Groups, Group{Rows: rows, EventRows: w.eventRows, LinkRows: w.linkRows})
	w.eventRows, w.linkRows = nil, nil
	w.structure.endGroup(g)
	err = w.structure.flush()
	w.tellHeld()
	return err
}

package block

import (
	"cmp"
	"encoding/binary"
	"slices"
	"unicode/utf8"

	"github.com/bramble-tracing/bramble/internal/store"
)

// tables interns resources and scopes by their contents and writes resources.parquet.
type tables struct {
	*table
	resourceIDs map[string]int32
	scopeIDs    map[string]int32
	resources   []resourceEntry
	scopes      []scopeEntry
	key         []byte
	sorted      []store.Attr
	included    map[string][2]int // blocks whose tables were added as they are, and where they begin
}

type resourceEntry struct {
	store.Resource
	service    string
	hasService bool
	spans      int
}

type scopeEntry struct {
	store.Scope
	spans int
}

func (t *tables) init(out *table) {
	t.table = out
	t.resourceIDs, t.scopeIDs = make(map[string]int32), make(map[string]int32)
}

// resource returns the id of a resource. Resources whose attributes differ in order only are the same.
func (t *tables) resource(r *store.Resource) int32 {
	t.resourceKey(r)
	if id, ok := t.resourceIDs[string(t.key)]; ok {
		return id
	}
	return t.addResource(r)
}

// addResource adds a row for a resource, whose key was just made. An equal one found before stays the one to refer to.
func (t *tables) addResource(r *store.Resource) int32 {
	id := int32(len(t.resources)) //nolint:gosec // at most one per span
	if _, ok := t.resourceIDs[string(t.key)]; !ok {
		t.resourceIDs[string(t.key)] = id
	}
	e := resourceEntry{Resource: *r}
	e.Attrs = slices.Clone(r.Attrs)
	for i := range e.Attrs {
		if e.Attrs[i].Key == "service.name" {
			e.service, e.hasService = columnName(e.Attrs[i].Value.Str), e.Attrs[i].Value.Type == store.TypeString
			break
		}
	}
	t.resources = append(t.resources, e)
	return id
}

func (t *tables) scope(s *store.Scope) int32 {
	t.scopeKey(s)
	if id, ok := t.scopeIDs[string(t.key)]; ok {
		return id
	}
	return t.addScope(s)
}

// addScope is addResource for scopes.
func (t *tables) addScope(s *store.Scope) int32 {
	id := int32(len(t.scopes)) //nolint:gosec // at most one per span
	if _, ok := t.scopeIDs[string(t.key)]; !ok {
		t.scopeIDs[string(t.key)] = id
	}
	e := scopeEntry{Scope: *s}
	e.Attrs = slices.Clone(s.Attrs)
	t.scopes = append(t.scopes, e)
	return id
}

// resourceKey makes the key of a resource. Those whose attributes differ in order only have the same.
func (t *tables) resourceKey(r *store.Resource) {
	t.key = binary.LittleEndian.AppendUint32(t.key[:0], r.DroppedAttrs)
	t.key = appendText(appendText(t.key, r.SchemaURL), r.EntityRefs)
	t.appendAttrs(r.Attrs)
}

func (t *tables) scopeKey(s *store.Scope) {
	t.key = binary.LittleEndian.AppendUint32(t.key[:0], s.DroppedAttrs)
	t.key = appendText(appendText(appendText(t.key, s.SchemaURL), s.Name), s.Version)
	t.appendAttrs(s.Attrs)
}

func appendText(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

// appendAttrs adds the attributes to the key, sorted. Which of two values of one key comes first matters.
func (t *tables) appendAttrs(attrs []store.Attr) {
	t.sorted = append(t.sorted[:0], attrs...)
	slices.SortStableFunc(t.sorted, func(a, b store.Attr) int { return cmp.Compare(a.Key, b.Key) })
	for i := range t.sorted {
		a := &t.sorted[i]
		t.key = appendText(t.key, a.Key)
		t.key = append(t.key, byte(a.Value.Type))
		t.key = binary.LittleEndian.AppendUint64(t.key, a.Value.Num)
		t.key = appendText(t.key, a.Value.Str)
	}
	clear(t.sorted)
}

// used counts a span of the resource and scope.
func (t *tables) used(resource, scope int32) {
	t.resources[resource].spans++
	t.scopes[scope].spans++
}

// service returns the text of service_name.
func (t *tables) service(resource int32) (string, bool) {
	e := &t.resources[resource]
	return e.service, e.hasService
}

// maxServiceName is how many bytes of a service's name stand beside each of its spans. The name as a whole is in the
// resource's row.
const maxServiceName = 1024

// columnName returns what service_name has of a service's name: the whole of it, or as many characters of its beginning
// as fit.
func columnName(s string) string {
	if len(s) <= maxServiceName {
		return s
	}
	end := maxServiceName
	for n := 1; n < utf8.UTFMax && !utf8.RuneStart(s[end]); n++ {
		end--
	}
	if !utf8.RuneStart(s[end]) {
		end = maxServiceName
	}
	return s[:end]
}

// The values of the kind column.
const (
	kindResource = "resource"
	kindScope    = "scope"
)

// write adds all rows to the table: resources by id, then scopes by id. A row that no span refers to, which copied row
// groups leave behind, is written without contents.
func (t *tables) write() error {
	for i := range t.resources {
		if t.resources[i].spans == 0 {
			t.resources[i] = resourceEntry{}
		}
	}
	for i := range t.scopes {
		if t.scopes[i].spans == 0 {
			t.scopes[i] = scopeEntry{}
		}
	}
	for i := range t.resources {
		e, r := &t.resources[i], t.row
		t.common(kindResource, i, e.SchemaURL, e.DroppedAttrs)
		if e.EntityRefs != "" {
			t.fixed[colResEntities].AddText(r, e.EntityRefs)
		}
		t.addAttrs(store.ScopeResource, e.Attrs)
		if err := t.endRow(); err != nil {
			return err
		}
	}
	for i := range t.scopes {
		e, r := &t.scopes[i], t.row
		t.common(kindScope, i, e.SchemaURL, e.DroppedAttrs)
		t.fixed[colResName].AddText(r, e.Name)
		t.fixed[colResVersion].AddText(r, e.Version)
		t.addAttrs(store.ScopeInstrumentation, e.Attrs)
		if err := t.endRow(); err != nil {
			return err
		}
	}
	_, err := t.endGroup()
	return err
}

func (t *tables) common(kind string, id int, schema string, dropped uint32) {
	r := t.row
	t.fixed[colResKind].AddText(r, kind)
	t.fixed[colResID].AddNum(r, uint64(id)) //nolint:gosec // not negative
	t.fixed[colResSchema].AddText(r, schema)
	t.fixed[colResDropped].AddNum(r, uint64(dropped))
}

func (t *tables) endRow() error {
	t.table.endRow()
	if len(t.granules) < defaultGranules {
		return nil
	}
	_, err := t.endGroup()
	return err
}

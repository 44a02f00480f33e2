package query

// TagNamesResult is the answer of TagNames.
type TagNamesResult struct {
	Scopes []ScopeNames
	Stats  Stats
}

// ScopeNames are the attributes of one scope, sorted.
type ScopeNames struct {
	Name string
	Tags []string
}

// TagValuesResult is the answer of TagValues.
type TagValuesResult struct {
	Values []TagValue
	Stats  Stats
}

// TagValue is one value as text with its type: string, int, float, bool, duration or keyword (V-05).
type TagValue struct{ Type, Text string }

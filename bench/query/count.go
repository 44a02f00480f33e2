package main

import (
	"encoding/json"
	"fmt"
)

// countField returns a counter of the elements of a list in the answer.
func countField(name string) func([]byte) (int, error) {
	return func(body []byte) (int, error) {
		var m map[string]json.RawMessage
		if err := json.Unmarshal(body, &m); err != nil {
			return 0, err
		}
		var list []json.RawMessage
		if raw, ok := m[name]; ok {
			if err := json.Unmarshal(raw, &list); err != nil {
				return 0, fmt.Errorf("%s: %w", name, err)
			}
		}
		return len(list), nil
	}
}

// rangeAnswer is what the benchmark reads of a range query's answer.
type rangeAnswer struct {
	Series []struct {
		Labels []struct {
			Key   string
			Value struct{ StringValue string }
		}
		Samples []struct{ Value float64 }
	}
}

// sumSamples adds up all samples of the series that have all of the labels, rounded, after a factor.
func sumSamples(factor float64, labels map[string]string) func([]byte) (int, error) {
	return func(body []byte) (int, error) {
		var answer rangeAnswer
		if err := json.Unmarshal(body, &answer); err != nil {
			return 0, err
		}
		var sum float64
		for _, s := range answer.Series {
			have := 0
			for _, l := range s.Labels {
				if v, ok := labels[l.Key]; ok && v == l.Value.StringValue {
					have++
				}
			}
			if have < len(labels) {
				continue
			}
			for _, p := range s.Samples {
				sum += p.Value
			}
		}
		return int(sum*factor + .5), nil
	}
}

// countSeries returns the number of series of an answer.
func countSeries(body []byte) (int, error) { return countField("series")(body) }

// countTags returns the number of tag names of all scopes.
func countTags(body []byte) (int, error) {
	var answer struct {
		Scopes []struct{ Tags []string }
	}
	if err := json.Unmarshal(body, &answer); err != nil {
		return 0, err
	}
	n := 0
	for _, s := range answer.Scopes {
		n += len(s.Tags)
	}
	return n, nil
}

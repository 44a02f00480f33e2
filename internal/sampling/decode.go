package sampling

import (
	"errors"
	"fmt"

	"go.opentelemetry.io/collector/confmap"
)

// maxDocument bounds the size of a document of policies.
const maxDocument = 1 << 20

// Decode reads policies from a tree of maps, lists and scalars with the keys of Config. Unknown keys are refused.
func Decode(tree map[string]any) (Config, error) {
	var cfg Config
	if err := confmap.NewFromStringMap(tree).Unmarshal(&cfg); err != nil {
		return Config{}, fmt.Errorf("read policies: %w", err)
	}
	return cfg, nil
}

// Parse reads a document in YAML, and so in JSON, of at most 1 MiB: a map with the keys of Config, or the list of
// policies alone.
func Parse(document []byte) (Config, error) {
	if len(document) > maxDocument {
		return Config{}, fmt.Errorf("read policies: the document has %d bytes, more than %d", len(document), maxDocument)
	}
	r, err := confmap.NewRetrievedFromYAML(document)
	if err != nil {
		return Config{}, fmt.Errorf("read policies: %w", err)
	}
	raw, err := r.AsRaw()
	if err != nil {
		return Config{}, fmt.Errorf("read policies: %w", err)
	}
	switch raw := raw.(type) {
	case map[string]any:
		if _, ok := raw["policies"]; !ok {
			return Config{}, errors.New("read policies: the document has no key policies")
		}
		return Decode(raw)
	case []any:
		return Decode(map[string]any{"policies": raw})
	}
	return Config{}, errors.New("read policies: want a map with the key policies, or a list of policies")
}

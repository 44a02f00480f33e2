package piiprocessor

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/bramble-tracing/bramble/internal/pii"
)

// The modes.
const (
	modeEnforce = "enforce"
	modeReport  = "report"
)

// Config is the configuration of the processor. The zero value of every field but Mode and MaxServices is the default.
type Config struct {
	// Mode is enforce, which changes spans, or report, which only counts what it would do. Default enforce.
	Mode string `mapstructure:"mode"`
	// Config holds rules and allow_keys; see the README.
	pii.Config `mapstructure:",squash"`
	// RulesFile is the path of a YAML file with rules and allow_keys. It is read again when its content changes, and
	// takes the place of those fields here.
	RulesFile string `mapstructure:"rules_file"`
	// HashKey says where the key of action hash comes from.
	HashKey HashKeyConfig `mapstructure:"hash_key"`
	// MarkSpans adds the attribute bramble.pii.redacted, a list of rules, to spans that were changed. Default false.
	MarkSpans bool `mapstructure:"mark_spans"`
	// MaxServices is the number of different services that metrics tell apart, 0 to 10000. Default 200.
	MaxServices int `mapstructure:"max_services"`
}

// HashKeyConfig names the source of the key. The key itself never stands in the configuration.
type HashKeyConfig struct {
	// Env is the name of an environment variable that holds the key, at least 16 bytes.
	Env string `mapstructure:"env"`
	// File is the path of a file that holds the key; white space around it does not count.
	File string `mapstructure:"file"`
}

// Validate checks what pii.Config does not; the Collector asks both.
func (c *Config) Validate() error {
	var errs []error
	if c.Mode != modeEnforce && c.Mode != modeReport {
		errs = append(errs, fmt.Errorf("mode: %q is neither enforce nor report", c.Mode))
	}
	if c.RulesFile != "" && len(c.Rules) > 0 {
		errs = append(errs, errors.New("rules_file: takes the place of rules; move them into the file"))
	}
	if c.RulesFile != "" && len(c.AllowKeys) > 0 {
		errs = append(errs, errors.New("rules_file: takes the place of allow_keys; move them into the file"))
	}
	if c.HashKey.Env != "" && c.HashKey.File != "" {
		errs = append(errs, errors.New("hash_key: give env or file, not both"))
	}
	if c.MaxServices < 0 || c.MaxServices > 10_000 {
		errs = append(errs, fmt.Errorf("max_services: %d is not between 0 and 10000", c.MaxServices))
	}
	if c.RulesFile == "" && c.HashKey == (HashKeyConfig{}) {
		for name, r := range c.Rules {
			if r.Action == pii.ActionHash.String() || r.Hash == "statement" {
				errs = append(errs, fmt.Errorf("rules::%s: %w: set hash_key::env or hash_key::file", name, pii.ErrNoHashKey))
			}
		}
	}
	return errors.Join(errs...)
}

// read returns the key, or nothing if none is configured.
func (c *HashKeyConfig) read() ([]byte, error) {
	switch {
	case c.Env != "":
		key := strings.TrimSpace(os.Getenv(c.Env))
		if key == "" {
			return nil, fmt.Errorf("hash_key::env: the environment variable %s is empty or not set", c.Env)
		}
		return []byte(key), nil
	case c.File != "":
		b, err := os.ReadFile(c.File)
		if err != nil {
			return nil, fmt.Errorf("hash_key::file: read the key: %w", err)
		}
		key := strings.TrimSpace(string(b))
		if key == "" {
			return nil, fmt.Errorf("hash_key::file: %s is empty", c.File)
		}
		return []byte(key), nil
	}
	return nil, nil
}

package piiprocessor

import (
	"context"
	"fmt"

	"github.com/bramble-tracing/bramble/internal/pii"
)

// Check reads what rules_file and hash_key name and compiles the rules, as the start does, for `bramble config check`.
func (c *Config) Check(context.Context) error {
	rules := c.Config
	if c.RulesFile != "" {
		content, err := readRuleFile(c.RulesFile)
		if err != nil {
			return err
		}
		if rules, err = parseRules(content); err != nil {
			return fmt.Errorf("rules_file %s: %w", c.RulesFile, err)
		}
	}
	key, err := c.HashKey.read()
	if err != nil {
		return err
	}
	_, err = pii.Compile(rules, key)
	return err
}

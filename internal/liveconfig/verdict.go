package liveconfig

import "context"

// Verdict is what a Checker says about a candidate. It crosses a process border as JSON.
type Verdict struct {
	OK bool `json:"ok"`
	// Reason says what is wrong and where, in one or more lines.
	Reason string `json:"reason,omitempty"`
	// Sources are the keys that the configuration was read from, with the hashes of their contents (HashBytes).
	Sources map[string]string `json:"sources,omitempty"`
	// Effective is the configuration after expansion, with secrets hidden.
	Effective map[string]any `json:"effective,omitempty"`
	// Skipped says which part of the check was left out, and why.
	Skipped string `json:"skipped,omitempty"`
	// Warnings are worth reading, but no reason to refuse.
	Warnings []string `json:"warnings,omitempty"`
}

// Checker judges a candidate.
type Checker interface {
	// Check judges what the sources hold now. The error says that no judgement was possible (the child could not be
	// started); the candidate is then asked about again.
	Check(ctx context.Context) (Verdict, error)
}

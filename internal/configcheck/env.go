package configcheck

import (
	"context"
	"os"
	"strings"

	"go.opentelemetry.io/collector/confmap"
)

// watchEnv makes a provider of the scheme env tell which variables are not set and have no default: the Collector takes
// them for empty, which is not always what was meant. Other providers are left as they are.
func watchEnv(f confmap.ProviderFactory, missing func(name string)) confmap.ProviderFactory {
	return confmap.NewProviderFactory(func(set confmap.ProviderSettings) confmap.Provider {
		p := f.Create(set)
		if p.Scheme() != "env" {
			return p
		}
		return envProvider{Provider: p, missing: missing}
	})
}

type envProvider struct {
	confmap.Provider
	missing func(name string)
}

func (p envProvider) Retrieve(ctx context.Context, uri string, w confmap.WatcherFunc) (*confmap.Retrieved, error) {
	name, _, hasDefault := strings.Cut(strings.TrimPrefix(uri, "env:"), ":-")
	if _, set := os.LookupEnv(name); !set && !hasDefault {
		p.missing(name)
	}
	return p.Provider.Retrieve(ctx, uri, w)
}

package watchprovider

import (
	"context"
	"fmt"
	"strings"

	"go.opentelemetry.io/collector/confmap"

	"github.com/bramble-tracing/bramble/internal/liveconfig"
	"github.com/bramble-tracing/bramble/internal/procstate"
)

const schemeName = "file"

// NewFactory returns the factory of a provider that uses the guard of the process, if there is one.
func NewFactory() confmap.ProviderFactory {
	return confmap.NewProviderFactory(func(set confmap.ProviderSettings) confmap.Provider {
		g := liveconfig.Of(&procstate.Default)
		if g != nil && set.Logger != nil {
			g.SetLogger(set.Logger)
		}
		return &provider{guard: g}
	})
}

// NewRecordingFactory returns the factory of a provider that reads files and tells what it has read, by
// liveconfig.File's key.
func NewRecordingFactory(read func(key string, content []byte)) confmap.ProviderFactory {
	return confmap.NewProviderFactory(func(confmap.ProviderSettings) confmap.Provider { return &provider{read: read} })
}

type provider struct {
	guard *liveconfig.Guard
	read  func(key string, content []byte)
}

// Retrieve returns the content of a file as YAML.
func (p *provider) Retrieve(ctx context.Context, uri string, watcher confmap.WatcherFunc) (*confmap.Retrieved, error) {
	path, ok := strings.CutPrefix(uri, schemeName+":")
	if !ok {
		return nil, fmt.Errorf("%q is not supported by the provider of %s: URIs", uri, schemeName)
	}
	f := liveconfig.File(path)
	var b []byte
	var err error
	if p.guard != nil && watcher != nil {
		b, err = p.guard.Read(ctx, f, func() { watcher(&confmap.ChangeEvent{}) })
	} else {
		b, err = f.Read(ctx)
	}
	if err != nil {
		return nil, err
	}
	if p.read != nil {
		p.read(f.Key(), b)
	}
	return confmap.NewRetrievedFromYAML(b)
}

func (*provider) Scheme() string { return schemeName }

// Shutdown ends notifications to the Collector.
func (p *provider) Shutdown(context.Context) error {
	if p.guard != nil {
		p.guard.Detach()
	}
	return nil
}

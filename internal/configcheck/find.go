package configcheck

import (
	"context"
	"fmt"
	"reflect"
	"strings"

	"go.opentelemetry.io/collector/config/configgrpc"
	"go.opentelemetry.io/collector/config/confighttp"
	"go.opentelemetry.io/collector/config/confignet"
	"go.opentelemetry.io/collector/config/configtls"
)

// address is one address to listen on.
type address struct {
	path, network, endpoint string
}

// finder walks through the settings of a component, third-party ones too, and finds by type what can be checked. The
// Collector has no interface that would tell it.
type finder struct {
	ctx     context.Context //nolint:containedctx // It lives for one walk.
	listens bool
	addrs   []address
	errs    []error
}

// maxDepth bounds the walk through settings that refer to themselves.
const maxDepth = 24

func (f *finder) walk(path string, cfg any) { f.value(path, reflect.ValueOf(cfg), maxDepth) }

func (f *finder) value(path string, v reflect.Value, depth int) {
	if depth == 0 || !v.IsValid() {
		return
	}
	switch v.Kind() {
	case reflect.Pointer, reflect.Interface:
		if !v.IsNil() {
			f.value(path, v.Elem(), depth-1)
		}
	case reflect.Struct:
		f.structure(path, v, depth)
	case reflect.Slice, reflect.Array:
		if v.Type().Elem().Kind() < reflect.Array && v.Type().Elem().Kind() != reflect.Bool {
			return // Numbers: nothing to find.
		}
		for i := range v.Len() {
			f.value(fmt.Sprintf("%s::%d", path, i), v.Index(i), depth-1)
		}
	case reflect.Map:
		for it := v.MapRange(); it.Next(); {
			f.value(fmt.Sprintf("%s::%v", path, it.Key()), it.Value(), depth-1)
		}
	}
}

func (f *finder) structure(path string, v reflect.Value, depth int) {
	if !v.CanInterface() {
		return
	}
	switch c := v.Interface().(type) {
	case configtls.ServerConfig:
		f.tls(path, func() error { _, err := c.LoadTLSConfig(f.ctx); return err })
		return
	case configtls.ClientConfig:
		f.tls(path, func() error { _, err := c.LoadTLSConfig(f.ctx); return err })
		return
	case confighttp.ServerConfig:
		f.listen(path, string(c.NetAddr.Transport), c.NetAddr.Endpoint)
	case configgrpc.ServerConfig:
		f.listen(path, string(c.NetAddr.Transport), c.NetAddr.Endpoint)
	case confignet.TCPAddrConfig:
		f.listen(path, "tcp", c.Endpoint)
		return
	}
	if inner, ok := optional(v); ok {
		f.value(path, inner, depth-1)
		return
	}
	for i := range v.NumField() {
		field := v.Type().Field(i)
		if !field.IsExported() {
			continue
		}
		// The contrib Jaeger receiver's UDP settings, by their shape: the type has no interface either.
		if field.Name == "ServerConfigUDP" {
			if e := v.FieldByName("Endpoint"); e.Kind() == reflect.String {
				f.listen(path, "udp", e.String())
			}
		}
		f.value(path+name(field), v.Field(i), depth-1)
	}
}

// optional returns what a configoptional.Optional holds; ok is false for other types. One without a value gives an invalid
// value, which is walked past.
func optional(v reflect.Value) (inner reflect.Value, ok bool) {
	if !strings.HasPrefix(v.Type().Name(), "Optional[") || !strings.HasSuffix(v.Type().PkgPath(), "/configoptional") {
		return v, false
	}
	p := reflect.New(v.Type())
	p.Elem().Set(v)
	got := p.MethodByName("Get").Call(nil)[0]
	if got.IsNil() {
		return reflect.Value{}, true
	}
	return got.Elem(), true
}

// name is the field's part of a path, by its mapstructure tag.
func name(field reflect.StructField) string {
	tag, rest, _ := strings.Cut(field.Tag.Get("mapstructure"), ",")
	switch {
	case strings.Contains(rest, "squash"):
		return ""
	case tag == "":
		return "::" + strings.ToLower(field.Name)
	}
	return "::" + tag
}

func (f *finder) tls(path string, load func() error) {
	if err := load(); err != nil {
		f.errs = append(f.errs, fmt.Errorf("%s: %w", path, err))
	}
}

func (f *finder) listen(path, network, endpoint string) {
	if f.listens && endpoint != "" {
		f.addrs = append(f.addrs, address{path: path, network: network, endpoint: endpoint})
	}
}

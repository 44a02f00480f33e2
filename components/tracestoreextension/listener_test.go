package tracestoreextension

import (
	"errors"
	"os"
	"reflect"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/bramble-tracing/bramble/internal/store"
)

// TestEveryEventIsLogged lets each event of the store happen: it makes one line, which has fields, and which the README
// explains.
func TestEveryEventIsLogged(t *testing.T) {
	core, logs := observer.New(zap.DebugLevel)
	l := reflect.ValueOf(newListener(zap.New(core))).Elem()
	messages := map[string]string{}
	readme, err := os.ReadFile("README.md")
	require.NoError(t, err)
	for i := range l.NumField() {
		name, f := l.Type().Field(i).Name, l.Field(i)
		require.False(t, f.IsNil(), "%s is not logged", name)
		args := make([]reflect.Value, f.Type().NumIn())
		for n := range args {
			args[n] = example(f.Type().In(n))
		}
		f.Call(args)
		lines := logs.TakeAll()
		require.Len(t, lines, 1, "%s", name)
		require.NotContains(t, messages, lines[0].Message, "%s says the same as %s", name, messages[lines[0].Message])
		messages[lines[0].Message] = name
		require.Contains(t, string(readme), " | "+lines[0].Message+" | ", "%s", name)
		fields := lines[0].ContextMap()
		if len(args) == 0 {
			continue
		}
		require.NotEmpty(t, fields, "%s", name)
		for key, v := range fields {
			require.NotZero(t, v, "%s: %s", name, key)
		}
	}
}

// example returns a value of a type in which nothing is zero.
func example(typ reflect.Type) reflect.Value {
	v := reflect.New(typ).Elem()
	switch typ.Kind() {
	case reflect.String:
		v.SetString("some")
	case reflect.Int, reflect.Int64:
		v.SetInt(7)
	case reflect.Uint64:
		v.SetUint(7)
	case reflect.Interface:
		v.Set(reflect.ValueOf(errors.New("broken")))
	case reflect.Pointer:
		v.Set(reflect.ValueOf(&store.CorruptionError{Path: "some", Offset: 7, Err: errors.New("broken")}))
	case reflect.Struct:
		for _, f := range v.Fields() {
			f.Set(example(f.Type()))
		}
	default:
		panic("an event has a field of kind " + typ.Kind().String() + ": give an example of it") // A bug of the test.
	}
	return v
}

// Command gen compiles a .proto file and writes the Go code for it. Its arguments are the folder of the file, where
// the code goes too, and the name of the file. The compiler is protocompile; the plugins are protoc-gen-go and protoc-gen-go-grpc, in the
// versions that go.mod pins.
package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/bufbuild/protocompile"
	"github.com/bufbuild/protocompile/protoutil"
	_ "go.opentelemetry.io/proto/otlp/trace/v1" // Registers the OTLP files.
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/pluginpb"
)

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: gen FOLDER FILE")
		os.Exit(2)
	}
	if err := run(context.Background(), os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, "gen:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, dir, source string) error {
	file, err := compile(ctx, dir, source)
	if err != nil {
		return err
	}
	version := int32(0)
	request, err := proto.Marshal(&pluginpb.CodeGeneratorRequest{
		FileToGenerate:  []string{source},
		Parameter:       proto.String("paths=source_relative"),
		ProtoFile:       withImports(file, nil, map[string]bool{}),
		CompilerVersion: &pluginpb.Version{Major: &version, Minor: &version, Patch: &version},
	})
	if err != nil {
		return fmt.Errorf("encode the request for the plugins: %w", err)
	}
	return errors.Join(
		generate(ctx, "protoc-gen-go", request, dir),
		generate(ctx, "protoc-gen-go-grpc", request, dir),
	)
}

// compile reads the source file. Its imports come from the registry that the OTLP Go packages fill.
func compile(ctx context.Context, dir, source string) (protoreflect.FileDescriptor, error) {
	registered := protocompile.ResolverFunc(func(path string) (protocompile.SearchResult, error) {
		d, err := protoregistry.GlobalFiles.FindFileByPath(path)
		if err != nil {
			return protocompile.SearchResult{}, err
		}
		return protocompile.SearchResult{Proto: protodesc.ToFileDescriptorProto(d)}, nil
	})
	compiler := protocompile.Compiler{
		Resolver: protocompile.CompositeResolver{
			&protocompile.SourceResolver{ImportPaths: []string{dir}}, protocompile.WithStandardImports(registered),
		},
		SourceInfoMode: protocompile.SourceInfoStandard,
	}
	files, err := compiler.Compile(ctx, source)
	if err != nil {
		return nil, fmt.Errorf("compile %s: %w", source, err)
	}
	return files[0], nil
}

// withImports appends f after all that it imports, as plugins expect it.
func withImports(f protoreflect.FileDescriptor, dst []*descriptorpb.FileDescriptorProto, seen map[string]bool) []*descriptorpb.FileDescriptorProto {
	if seen[f.Path()] {
		return dst
	}
	seen[f.Path()] = true
	for i := range f.Imports().Len() {
		dst = withImports(f.Imports().Get(i).FileDescriptor, dst, seen)
	}
	return append(dst, protoutil.ProtoFromFileDescriptor(f))
}

// generate runs a plugin and writes what it answers.
func generate(ctx context.Context, plugin string, request []byte, dir string) error {
	cmd := exec.CommandContext(ctx, "go", "tool", plugin) //nolint:gosec // A constant of this file.
	cmd.Stdin = bytes.NewReader(request)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return fmt.Errorf("run %s: %w", plugin, err)
	}
	var response pluginpb.CodeGeneratorResponse
	if err := proto.Unmarshal(out, &response); err != nil {
		return fmt.Errorf("decode the answer of %s: %w", plugin, err)
	}
	if response.Error != nil {
		return fmt.Errorf("%s: %s", plugin, response.GetError())
	}
	for _, f := range response.GetFile() {
		if err := os.WriteFile(filepath.Join(dir, f.GetName()), []byte(f.GetContent()), 0o644); err != nil { //nolint:gosec // Source code.
			return fmt.Errorf("write the output of %s: %w", plugin, err)
		}
	}
	return nil
}

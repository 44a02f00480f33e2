package block

import (
	"bufio"
	"errors"
	"fmt"

	"github.com/bramble-tracing/bramble/internal/fsx"
)

// outFile is a file of the block that is being written.
type outFile struct {
	file fsx.File
	buf  *bufio.Writer
	name string
}

func createFile(fs fsx.FS, path, name string) (*outFile, error) {
	f, err := fs.Create(path)
	if err != nil {
		return nil, fmt.Errorf("create %s: %w", path, err)
	}
	return &outFile{file: f, buf: bufio.NewWriterSize(f, writeBuffer), name: name}, nil
}

// Write implements io.Writer.
func (o *outFile) Write(b []byte) (int, error) { return o.buf.Write(b) }

// finish makes the contents durable and closes the file.
func (o *outFile) finish() error {
	err := o.buf.Flush()
	if err == nil {
		err = o.file.Sync()
	}
	err = errors.Join(err, o.file.Close())
	o.file = nil
	if err != nil {
		return fmt.Errorf("finish %s: %w", o.name, err)
	}
	return nil
}

func (o *outFile) abort() {
	if o != nil && o.file != nil {
		_ = o.file.Close()
		o.file = nil
	}
}

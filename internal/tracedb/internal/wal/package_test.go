package wal

import (
	"encoding/binary"
	"hash/crc32"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fixHeaderCRC returns a header with the checksum that its other bytes ask for.
func fixHeaderCRC(h []byte) []byte {
	return binary.LittleEndian.AppendUint32(h[:36:36], crc32.Checksum(h[:36], castagnoli))
}

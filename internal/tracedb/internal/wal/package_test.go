package wal

import (
	"encoding/binary"
	"hash/crc32"
	"math/rand/v2"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fixHeaderCRC returns a header with the checksum that its other bytes ask for.
func fixHeaderCRC(h []byte) []byte {
	return binary.LittleEndian.AppendUint32(h[:36:36], crc32.Checksum(h[:36], castagnoli))
}

// noise returns n bytes that do not compress.
func noise(seed uint64, n int) string {
	rng := rand.New(rand.NewPCG(seed, 9))
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(rng.Uint32())
	}
	return string(b)
}

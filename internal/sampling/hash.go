package sampling

import (
	"math"
	"math/big"

	"github.com/bramble-tracing/bramble/internal/spanid"
)

// defaultSalt is contrib's, so that both choose the same traces.
const defaultSalt = "default-hash-seed"

// Parameters of the 64-bit FNV-1a hash (draft-eastlake-fnv).
const (
	fnvOffset = 14695981039346656037
	fnvPrime  = 1099511628211
)

// saltHash is the state of the hash after the salt.
func saltHash(salt string) uint64 {
	if salt == "" {
		salt = defaultSalt
	}
	h := uint64(fnvOffset)
	for i := range len(salt) {
		h = (h ^ uint64(salt[i])) * fnvPrime
	}
	return h
}

// hashID is the hash of salt and trace id.
func hashID(salted uint64, id *spanid.TraceID) uint64 {
	h := salted
	for _, b := range id {
		h = (h ^ uint64(b)) * fnvPrime
	}
	return h
}

// threshold is the largest hash of traces that a percentage samples: the percentage of the range of hashes, computed
// without the rounding of floats at its upper end.
func threshold(percentage float64) uint64 {
	limit := new(big.Float).SetInt(new(big.Int).SetUint64(math.MaxUint64))
	out, _ := limit.Mul(limit, big.NewFloat(percentage/100)).Uint64()
	return out
}

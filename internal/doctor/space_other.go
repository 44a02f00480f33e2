//go:build !unix

package doctor

import "errors"

func spaceOf(string) (space, error) { return space{}, errors.ErrUnsupported }

func isFull(error) bool { return false }

func ownerOf(string) string { return "" }

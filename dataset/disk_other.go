//go:build !(darwin || dragonfly || freebsd || linux || netbsd || openbsd)

package dataset

import "context"

// lockDir does nothing where the system has no file locks: processes that fetch
// at the same time then do so beside each other, and the checksums still hold.
func lockDir(context.Context, string, func()) (unlock func(), err error) {
	return func() {}, nil
}

// syncDir does nothing where directories can't be made safe on disk by
// themselves.
func syncDir(string) error { return nil }

//go:build !(darwin || dragonfly || freebsd || linux || netbsd || openbsd)

package checkpoint

import (
	"errors"
	"fmt"
	"os"
)

// flock fails: there is no such lock on this system.
func flock(*os.File) (bool, error) { return false, fmt.Errorf("flock: %w", errors.ErrUnsupported) }

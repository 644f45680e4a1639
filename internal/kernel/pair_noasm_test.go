//go:build !amd64

package kernel

func takeApart() func() { return func() {} }

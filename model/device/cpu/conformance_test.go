package cpu_test

import (
	"fmt"
	"testing"

	"github.com/muster-train/muster/model/device"
	"github.com/muster-train/muster/model/device/cpu"
	"github.com/muster-train/muster/model/device/devicetest"
)

func TestConformance(t *testing.T) {
	for _, threads := range []int{1, 2, 3} {
		t.Run(fmt.Sprint(threads, " threads"), func(t *testing.T) {
			devicetest.Run(t, func(t *testing.T) device.Device {
				d, err := cpu.New(threads)
				if err != nil {
					t.Fatal(err)
				}
				return d
			})
		})
	}
}

func TestConformanceWithBfloat16(t *testing.T) {
	for _, threads := range []int{1, 3} {
		t.Run(fmt.Sprint(threads, " threads"), func(t *testing.T) {
			devicetest.RunPrecision(t, device.BF16, func(t *testing.T) device.Device {
				d, err := cpu.New(threads)
				if err != nil {
					t.Fatal(err)
				}
				return d
			})
		})
	}
}

package model

import (
	"fmt"

	"github.com/muster-train/muster/model/device"
)

// Plan binds the network to a device. The parameters of the plan are zero:
// Initialise or a checkpoint fills them, and Loaded must be told. The caller
// closes the plan.
func (n *Network) Plan(d device.Device, o device.Options) (device.Plan, error) {
	p, err := d.Compile(n.Graph, o)
	if err != nil {
		return nil, fmt.Errorf("network %s on %s: %w", n.Name, d.Name(), err)
	}
	return p, nil
}

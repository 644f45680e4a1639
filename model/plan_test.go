package model

import (
	"errors"
	"strings"
	"testing"

	"github.com/muster-train/muster/model/device"
)

// recorder is a device that keeps what it is asked to compile.
type recorder struct {
	graph   *device.Graph
	options device.Options
	plan    device.Plan
	err     error
}

func (r *recorder) Name() string { return "recorder/1" }

func (r *recorder) Compile(g *device.Graph, o device.Options) (device.Plan, error) {
	r.graph, r.options = g, o
	return r.plan, r.err
}

func (r *recorder) Close() error { return nil }

func TestPlanCompilesTheGraph(t *testing.T) {
	n := build(t, "lenet5", Options{})
	d := &recorder{plan: struct{ device.Plan }{}}
	o := device.Options{Images: 16, Nodes: 2}
	p, err := n.Plan(d, o)
	if err != nil || p != d.plan {
		t.Errorf("Plan = %v, %v; want the device's", p, err)
	}
	if d.graph != n.Graph || d.options != o {
		t.Errorf("compiled %p with %+v, want %p with %+v", d.graph, d.options, n.Graph, o)
	}
}

func TestPlanSaysWhatDidNotCompile(t *testing.T) {
	full := errors.New("out of memory")
	_, err := build(t, "lenet5", Options{}).Plan(&recorder{err: full}, device.Options{Images: 1})
	if !errors.Is(err, full) || !strings.Contains(err.Error(), "network lenet5 on recorder/1: ") {
		t.Errorf("Plan: %v", err)
	}
}

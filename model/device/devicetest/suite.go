package devicetest

import (
	"testing"

	"github.com/muster-train/muster/model/device"
)

// A check is one promise of a device: run returns an error where d breaks it.
type check struct {
	name string
	run  func(d device.Device) error
}

// promises returns the checks that hold whatever the precision of products.
func promises() []check {
	return []check{
		{"ShardAloneOrAmongOthersGivesSameBits", shardAmongOthers},
		{"CallsBeforeChangeNothing", callsBefore},
		{"BatchOfAnySizeGivesSameBits", anySize},
		{"NodeIsTreeSumOfItsShards", nodesAreTreeSums},
		{"ShardsWithoutImagesArePassedOver", emptyShards},
		{"RoundedSumsAreRoundedAtEveryNode", roundedSums},
		{"EachRangeIsReportedOnceWhenFinal", reports},
		{"FactorsMultiplyToTheSumsOfShards", factors},
		{"LoadedParametersTakeEffect", loaded},
		{"VectorsOfTheCallerServe", callersVectors},
		{"ParametersMayComeDuringForward", awaits},
		{"PlansSideBySideGiveSameBits", sideBySide},
		{"TestingFormDrawsNothing", testingForm},
		{"EvaluatingPlanNeedsNoNodes", evaluationOnly},
		{"TapsOutsideImagesHaveZeroGradient", tapsOutside},
		{"NaNIsNotLost", nanIsNotLost},
		{"RanksCountEqualLogitsInOrder", ranks},
		{"PredictedClassesAreThoseTop1Counts", predicted},
		{"LogitsAreTheNetworksOutputs", outputs},
		{"UnsoundGraphsAreErrors", unsoundGraphs},
		{"UnsoundBatchesAreErrors", unsoundBatches},
		{"StepAllocatesNothing", allocations},
	}
}

// checks returns the suite.
func checks() []check {
	all := append(promises(),
		check{"EqualValuesSendGradientToFirst", firstOfEquals},
		check{"LargeLogitsGiveFiniteLoss", largeLogits},
	)
	for _, c := range cases() {
		all = append(all,
			check{"ForwardAgrees/" + c.name, func(d device.Device) error { return forwardAgrees(d, c) }},
			check{"GradientAgrees/" + c.name, func(d device.Device) error { return gradientAgrees(d, c) }},
			check{"CentralDifferencesAgree/" + c.name, func(d device.Device) error { return differencesAgree(d, c) }},
		)
	}
	return all
}

// Run runs the suite, each check on a device of its own from newDevice, which
// it closes.
func Run(t *testing.T, newDevice func(t *testing.T) device.Device) {
	run(t, newDevice, checks())
}

// RunPrecision runs the suite on newDevice's devices with a precision, without
// what compares with values of float32 or float64.
func RunPrecision(t *testing.T, precision device.Precision, newDevice func(t *testing.T) device.Device) {
	run(t, func(t *testing.T) device.Device { return &precise{newDevice(t), precision} }, promises())
}

// precise is a device whose plans have a precision.
type precise struct {
	device.Device
	precision device.Precision
}

func (d *precise) Compile(g *device.Graph, o device.Options) (device.Plan, error) {
	o.Precision = d.precision
	return d.Device.Compile(g, o)
}

func run(t *testing.T, newDevice func(t *testing.T) device.Device, checks []check) {
	for _, c := range checks {
		t.Run(c.name, func(t *testing.T) {
			d := newDevice(t)
			if err := c.run(d); err != nil {
				t.Errorf("%s: %v", d.Name(), err)
			}
			if err := d.Close(); err != nil {
				t.Errorf("%s: close: %v", d.Name(), err)
			}
		})
	}
}

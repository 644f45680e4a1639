package main

import (
	"bytes"
	"encoding/json"
	"math"
	"strings"
	"testing"

	"github.com/muster-train/muster/model/device"
	"github.com/muster-train/muster/paramserver/checkpoint"
)

// counted is an evaluation of two classes by a network of three outputs: of the
// first class two are right and one is not told, of the second one is taken for
// the first and one for an output without a class.
func counted() *evaluation {
	e := &evaluation{
		path: "dir/step-7.ckpt", data: "tiny", synthetic: true,
		state: &checkpoint.State{Meta: checkpoint.Meta{Network: "lenet5", Step: 7}},
		total: device.Tally{Images: 5, Loss: 10, Top1: 2, Top5: 4},
	}
	e.begin([]string{"cat", "dog"}, 3)
	e.count([]int32{0, 0, 1}, []int32{0, 0, 0})
	e.count([]int32{0, 1}, []int32{-1, 2})
	return e
}

func TestEvaluationCountsByClass(t *testing.T) {
	e := counted()
	for k, want := range []class{
		{name: "cat", images: 3, correct: 2, predicted: 3, mistakenFor: "none", mistaken: 1},
		{name: "dog", images: 2, correct: 0, predicted: 0, mistakenFor: "cat", mistaken: 1},
	} {
		if got := e.class(k); got != want {
			t.Errorf("class %d is %+v, want %+v", k, got, want)
		}
	}
	m := e.matrix()
	if got := strings.Join(m.Columns, ","); got != "cat,dog,class 2,none" {
		t.Errorf("columns %s", got)
	}
	if !strings.Contains(m.Title, "40.00 % of 5") || !strings.Contains(m.Title, "synthetic") {
		t.Errorf("title %q", m.Title)
	}
}

func TestColumnsThatNothingIsTakenForAreLeftOut(t *testing.T) {
	e := counted()
	e.begin([]string{"cat", "dog"}, 3)
	e.count([]int32{1}, []int32{0})
	if got := e.matrix().Columns; len(got) != 2 {
		t.Errorf("columns %q, want those of the two classes", got)
	}
}

func TestEvaluationPrintsTables(t *testing.T) {
	var out bytes.Buffer
	if err := counted().print(&out); err != nil {
		t.Fatal(err)
	}
	const want = `lenet5, step 7, tiny: loss 2.0000, top-1 40.00 %, top-5 80.00 % of 5 images

  class  images  correct  recall  precision  most often taken for
    cat       3        2  66.7 %     66.7 %  none (1)
    dog       2        0   0.0 %          -  cat (1)

images by class (rows) and by what they are taken for (columns):
       cat  dog  class 2  none
  cat    2    0        0     1
  dog    1    0        1     0
`
	if got := out.String(); got != want {
		t.Errorf("printed\n%s\nwant\n%s", got, want)
	}
}

func TestEvaluationAsJSON(t *testing.T) {
	e := counted()
	e.total.Loss = math.NaN()
	var out bytes.Buffer
	if err := e.printJSON(&out); err != nil {
		t.Fatal(err)
	}
	var line struct {
		Checkpoint, Network string
		Step, Samples       int
		Synthetic           bool
		Loss                checkpoint.Float
		Top1, Top5          float64
		Classes             []classLine
	}
	if err := json.Unmarshal(out.Bytes(), &line); err != nil || strings.Count(out.String(), "\n") != 1 {
		t.Fatalf("%v in %s", err, out.String())
	}
	if line.Checkpoint != "dir/step-7.ckpt" || line.Network != "lenet5" || line.Step != 7 || line.Samples != 5 || !line.Synthetic ||
		!math.IsNaN(float64(line.Loss)) || line.Top1 != 0.4 || line.Top5 != 0.8 || len(line.Classes) != 2 {
		t.Errorf("printed %s", out.String())
	}
	cat, dog := line.Classes[0], line.Classes[1]
	if cat.Class != "cat" || cat.Images != 3 || cat.Correct != 2 || *cat.Recall != 2./3 || *cat.Precision != 2./3 || cat.Confusion["none"] != 1 {
		t.Errorf("of the first class: %+v", cat)
	}
	if dog.Precision != nil || dog.Confusion["class 2"] != 1 || dog.Confusion["cat"] != 1 {
		t.Errorf("of the second class: %+v", dog)
	}
}

package compare

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/google/renameio/v2"
)

// The files of a report.
const (
	ReportFile  = "report.md"
	ResultsFile = "results.json"
	barsFile    = "accuracy-and-time" // with the extension of each form
	curvesFile  = "curves"
)

// Write writes the report into dir: the page, its pictures, and the results as
// JSON. Each file is whole or not there, the page comes last.
func Write(dir string, x *Experiment) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("report: %w", err)
	}
	for _, extension := range []string{".png", ".svg"} {
		if err := x.bars(filepath.Join(dir, barsFile+extension)); err != nil {
			return fmt.Errorf("report: %w", err)
		}
		if err := x.curves(filepath.Join(dir, curvesFile+extension)); err != nil {
			return fmt.Errorf("report: %w", err)
		}
	}
	results, err := json.MarshalIndent(x, "", "  ")
	if err != nil {
		return fmt.Errorf("report: %w", err)
	}
	for _, f := range []struct {
		name string
		data []byte
	}{{ResultsFile, append(results, '\n')}, {ReportFile, []byte(x.Markdown())}} {
		if err := renameio.WriteFile(filepath.Join(dir, f.name), f.data, 0o644, renameio.WithTempDir(dir)); err != nil {
			return fmt.Errorf("report: %w", err)
		}
	}
	return nil
}

// JSONLines prints a line for each network.
func (x *Experiment) JSONLines(out io.Writer) error {
	e := json.NewEncoder(out)
	for i := range x.Runs {
		r := &x.Runs[i]
		last, best := r.Last(), r.Best()
		if err := e.Encode(map[string]any{
			"network": r.Network, "input_size": r.Side, "parameters": r.Parameters, "epochs": len(r.Epochs),
			"top1": last.Top1, "top5": last.Top5, "test_loss": last.TestLoss, "train_loss": last.TrainLoss,
			"best_top1": best.Top1, "best_epoch": best.Epoch + 1, "seconds": r.Seconds(), "epoch_seconds": finite(r.EpochSeconds()),
			"images_per_second": finite(r.ImagesPerSecond()), "parameters_sha256": r.Hash, "synthetic": x.Data.Synthetic,
		}); err != nil {
			return err
		}
	}
	return nil
}

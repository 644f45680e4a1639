package paramserver

import (
	"errors"
	"strings"
	"testing"
)

func TestMoreEpochsAreRefusedWhereTheScheduleFollowsThem(t *testing.T) {
	for _, tc := range []struct {
		schedule string
		ok       bool
	}{{"cosine", false}, {"onecycle", false}, {"cosine:100", true}, {"discexp:0.5,3", true}} {
		cfg := testConfig(t)
		cfg.Job.Schedule = tc.schedule
		r := run(t, newServer(t, cfg))
		newPuppet(t, r.Server, "w").toil()
		if _, err := r.wait(t); err != nil {
			t.Fatal(err)
		}
		cfg.Job = testJob()
		cfg.Job.Schedule, cfg.Job.Epochs = tc.schedule, 2
		_, err := New(cfg, newRegistry(t, "test"))
		if (err == nil) != tc.ok {
			t.Errorf("%s: New = %v, want allowed %v", tc.schedule, err, tc.ok)
		}
		if err != nil && (!errors.Is(err, ErrOtherJob) || !strings.Contains(err.Error(), tc.schedule+":5")) {
			t.Errorf("%s: New = %v, want a sentence with the schedule as it was", tc.schedule, err)
		}
	}
}

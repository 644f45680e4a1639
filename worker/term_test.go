package worker

import (
	"errors"
	"testing"

	musterv1 "github.com/muster-train/muster/proto/muster/v1"
)

// A server that was stopped and goes on may not know that another leads.
func TestAnswersOfALowerTermAreNotTaken(t *testing.T) {
	for _, job := range []string{"", "5eed"} { // the first Join and the second
		for _, tc := range []struct {
			heard, answered uint64
			taken           bool
		}{
			{0, 0, true},
			{0, 3, true},
			{4, 0, true}, // there are no terms any more
			{4, 3, false},
			{4, 4, true},
			{4, 5, true},
		} {
			path := socket(t)
			asked := make(chan uint64, 1)
			serve(t, path, fake{join: func(req *musterv1.JoinRequest) (*musterv1.JoinResponse, error) {
				asked <- req.Term
				return &musterv1.JoinResponse{Term: tc.answered, JobHash: "5eed"}, nil
			}})
			response, err := dial(t, path).Join(limited(t), &musterv1.JoinRequest{Term: tc.heard, Job: job})
			if got := <-asked; got != tc.heard {
				t.Errorf("the server was told term %d, want %d", got, tc.heard)
			}
			if tc.taken {
				if err != nil || response.GetJobHash() != "5eed" {
					t.Errorf("term %d after %d: %v, %v; want it taken", tc.answered, tc.heard, response, err)
				}
				continue
			}
			want := "the server at unix://" + path + " has term 3, one of term 4 leads"
			if response != nil || err == nil || err.Error() != want || errors.Is(err, ErrRefused) {
				t.Errorf("term %d after %d: %v, %v; want error %q, to be tried again", tc.answered, tc.heard, response, err, want)
			}
		}
	}
}

func TestTheHighestTermHeardIsTold(t *testing.T) {
	d := newDirector(t)
	r := run(t, testConfig(t), d)
	join := func(told, answered uint64) {
		t.Helper()
		c := await(t, d.calls, "Join")
		if c.Term != told {
			t.Errorf("Join tells of term %d, want %d", c.Term, told)
		}
		offer := d.offer()
		offer.response.Term = answered
		c.reply <- offer
	}
	join(0, 2)
	join(2, 3)
	await(t, d.lines, "Exchange").cut(errors.New("gone"))
	join(3, 0) // a server without terms takes none away
	join(3, 5)
	await(t, d.lines, "Exchange").cut(errors.New("gone"))
	await(t, d.calls, "Join").reply <- answer{err: errors.New("the server at h:1 has term 3, one of term 5 leads")}
	join(5, 5) // it was tried again
	join(5, 5)
	await(t, d.lines, "Exchange").tell(done(true, ""))
	if err := r.wait(t); err != nil {
		t.Error(err)
	}
}

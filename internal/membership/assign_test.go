package membership

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// never and always are answers to whether a shard's time has passed.
func never(int) bool  { return false }
func always(int) bool { return true }

// crew returns members from words such as "a" (unpinned) and "b@3" (pinned to
// shard 3), who joined in this order; "-" before one says that it is away, and "*2"
// behind it that a shard takes it twice as long as others.
func crew(words string) []Candidate {
	var members []Candidate
	for i, word := range strings.Fields(words) {
		m := Candidate{Member: Member{Pinned: -1, Joined: int64(i + 1)}}
		word, m.Away = strings.CutPrefix(word, "-")
		word, cost, _ := strings.Cut(word, "*")
		m.Cost, _ = strconv.ParseFloat(cost, 64)
		if n, _ := fmt.Sscanf(strings.ReplaceAll(word, "@", " "), "%s %d", &m.ID, &m.Pinned); n == 0 {
			panic(word)
		}
		members = append(members, m)
	}
	return members
}

// owners writes who owns what, a word for each shard: the owner or "-", with "!"
// behind it where the shard is held by, or kept for, a pinned worker.
func owners(a Assignment) string {
	words := make([]string, len(a.Owner))
	for s, id := range a.Owner {
		if words[s] = id; id == "" {
			words[s] = "-"
		}
		if a.Pinned[s] {
			words[s] += "!"
		}
	}
	return strings.Join(words, " ")
}

// owned is the inverse of owners.
func owned(words string) Assignment {
	a := Assignment{Number: 7}
	for word := range strings.FieldsSeq(words) {
		id, pinned := strings.CutSuffix(word, "!")
		if id == "-" {
			id = ""
		}
		a.Owner, a.Pinned = append(a.Owner, id), append(a.Pinned, pinned)
	}
	return a
}

func TestAssignGivesShardsToThoseWhoAreThere(t *testing.T) {
	for _, tc := range []struct {
		name     string
		prev     string
		members  string
		handover func(int) bool
		want     string
	}{
		{"nobody", "- - - -", "", always, "- - - -"},
		{"one worker takes all", "- - - -", "a", never, "a a a a"},
		{"two take halves", "- - - - - - - -", "a b", never, "a a a a b b b b"},
		{"three of eight", "- - - - - - - -", "a b c", never, "a a a b b b c c"},
		{"five of eight keep pairs together", "- - - - - - - -", "a b c d e", never, "a a b b c c d e"},
		{"more workers than shards", "- -", "a b c", never, "a b"},
		{"the second is given half of the tree", "a a a a a a a a", "a b", never, "a a a a b b b b"},
		{"the third is given as few as is fair", "a a a a b b b b", "a b c", never, "a a a c b b b c"},
		{"a lost worker's shards go to the others at once", "a a a b b b c c", "a c", never, "a a a a c c c c"},
		{"a lost shard goes to its sibling's owner", "- b a x", "a b", never, "b b a a"},
		{"lost siblings stay together", "a b c d a b c d", "a b", never, "a b a a a b b b"},
		{"a worker that comes back as another is a stranger", "a a b b", "b x", never, "x x b b"},

		{"each pinned worker has its own", "- - - -", "a@2 b@0 c@3 d@1", never, "b! d! a! c!"},
		{"shards of pinned workers yet to come wait", "- - - -", "a@2", never, "- - a! -"},
		{"until their time has passed", "- - - -", "a@2", always, "a a a! a"},
		{"which goes to who owns least, of those who joined first", "- - - - -", "a@3 b@0", always, "b! a b a! a"},
		{"the time of some has passed", "- - - -", "a@0", func(s int) bool { return s == 3 }, "a! - - a"},
		{"a pinned worker takes its shard from others", "a a a a", "a b@1", never, "a b! a a"},
		{"unpinned workers share what nobody is pinned to", "- - - - - -", "a@1 b c", never, "b a! b b c c"},
		{"the first of several pinned to one shard has it", "- -", "a@1 b@1", never, "- a!"},
		{"the spare steps in when the first is lost", "- a!", "b@1", never, "- b!"},
		{"a spare is given shards whose time has passed", "- -", "a@1 b@1", always, "b a!"},
		{"pinned beyond the job", "- -", "a@2", always, "- -"},

		{"a lost pinned worker's shard waits", "a! b! c! d!", "a@0 b@1 d@3", never, "a! b! -! d!"},
		{"it waits though unpinned workers are there", "a! u b! u", "u b@2", never, "-! u b! u"},
		{"and is shared by them when its time has passed", "-! u b! u", "u b@2", always, "u u b! u"},
		{"or given to a pinned one", "-! b! c! d!", "b@1 c@2 d@3", always, "b b! c! d!"},
		{"where it stays, whatever its time", "b b! c! d!", "b@1 c@2 d@3", never, "b b! c! d!"},
		{"until its worker returns", "b b! c! d!", "b@1 c@2 d@3 a@0", never, "a! b! c! d!"},
		{"or an unpinned worker comes", "b b! c! d!", "b@1 c@2 d@3 u", never, "u b! c! d!"},
		{"or its holder is lost", "b b! c! d!", "c@2 d@3", never, "- -! c! d!"},
		{"all lost", "a! b! c c", "", always, "-! -! - -"},
		{"who is away keeps its shards", "a a b b", "a -b", never, "a a b b"},
		{"and is given none", "a a b b x x", "a -b", never, "a a b b a a"},
		{"not even a fair share", "a a a a", "a -b c", never, "a a c c"},
		{"but gives of what it has", "a a a a", "-a b", never, "a a b b"},
		{"where all are away they are given more", "a a x x", "-a -b", never, "a a b b"},
		{"a pinned worker that is away keeps its shard", "a! b b", "-a@0 b", never, "a! b b"},
		{"one that comes and is lost again doesn't get it back", "-! b b", "-a@0 b", never, "-! b b"},
		{"nor takes it from who has it now", "b b b", "-a@0 b", never, "b b b"},
		{"shards whose time has passed go to who is there", "-! b! c!", "-b@1 c@2", always, "c b! c!"},
		{"if anyone is", "-! b! c!", "-b@1 -c@2", always, "b b! c!"},

		{"a slow worker is given less", "- - - - - -", "a b*2", never, "a a a a b b"},
		{"one that has become slow keeps what it can do in time", "a a a b b b", "a*2 b", never, "a a b b b b"},
		{"everyone has one", "a a b b", "a b*9", never, "a a b a"},
		{"if there are enough", "a b", "a b*9 c", never, "a c"},
		{"all slow alike", "- - - -", "a*3 b*3", never, "a a b b"},

		{"the last unpinned worker is lost", "u u u b!", "b@3", never, "- - - b!"},
	} {
		prev := owned(tc.prev)
		members := crew(tc.members)
		got, changed := Assign(prev, members, len(prev.Owner), tc.handover)
		if s := owners(got); s != tc.want {
			t.Errorf("%s:\n  before  %s\n  members %s\n  got     %s\n  want    %s", tc.name, tc.prev, tc.members, s, tc.want)
		}
		if changed != (tc.prev != tc.want) {
			t.Errorf("%s: changed = %v", tc.name, changed)
		}
		want := uint64(7)
		if tc.prev != tc.want {
			want = 8
		}
		if got.Number != want {
			t.Errorf("%s: number %d, want %d", tc.name, got.Number, want)
		}
		slices.Reverse(members)
		if again, _ := Assign(prev, members, len(prev.Owner), tc.handover); !cmp.Equal(again, got) {
			t.Errorf("%s: in another order of members %s, before %s", tc.name, owners(again), owners(got))
		}
	}
}

func TestAssignOverNothingStored(t *testing.T) {
	got, changed := Assign(Assignment{}, nil, 3, nil)
	want := Assignment{Owner: make([]string, 3), Pinned: make([]bool, 3)}
	if changed || !cmp.Equal(got, want) {
		t.Errorf("nobody there: %+v, %v; want %+v unchanged", got, changed, want)
	}
	got, changed = Assign(Assignment{}, crew("a"), 3, nil)
	want = Assignment{Number: 1, Owner: []string{"a", "a", "a"}, Pinned: make([]bool, 3)}
	if !changed || !cmp.Equal(got, want) {
		t.Errorf("one there: %+v, %v; want %+v", got, changed, want)
	}
	if got.Shards("a") == nil || got.Shards("b") != nil || got.Shards("") != nil || got.Unowned() != nil {
		t.Errorf("of %v: Shards(a) = %v, Shards(b) = %v, Unowned = %v", got, got.Shards("a"), got.Shards("b"), got.Unowned())
	}
}

// scene is a random situation.
type scene struct {
	prev    Assignment
	members []Candidate
	shards  int
	passed  []bool
}

func (c scene) handover(s int) bool { return c.passed[s] }

func (c scene) String() string {
	words := make([]string, len(c.members))
	for i, m := range c.members {
		words[i] = m.ID
		if m.Pinned >= 0 {
			words[i] += fmt.Sprintf("@%d", m.Pinned)
		}
	}
	return fmt.Sprintf("before %s, members %s, passed %v", owners(c.prev), strings.Join(words, " "), c.passed)
}

// play calls check with many situations as they follow each other in jobs whose
// workers come, go, and come back pinned or not.
func play(t *testing.T, mostShards int, check func(c scene, next Assignment, changed bool)) {
	for seed := range uint64(60) {
		random := rand.New(rand.NewPCG(seed, 2))
		c := scene{shards: 1 + random.IntN(mostShards)}
		c.prev = Assignment{}.resized(c.shards)
		style := random.IntN(3) // all unpinned, all pinned, mixed
		joined := int64(0)
		for range 40 {
			for range 1 + random.IntN(3) {
				if n := len(c.members); n > 0 && random.IntN(5) < 2 {
					c.members = slices.Delete(slices.Clone(c.members), 0, 1+random.IntN(min(n, 2)))
					random.Shuffle(len(c.members), func(i, j int) { c.members[i], c.members[j] = c.members[j], c.members[i] })
					continue
				}
				id := fmt.Sprintf("w%d", random.IntN(c.shards+4))
				if slices.ContainsFunc(c.members, func(m Candidate) bool { return m.ID == id }) {
					continue
				}
				joined++
				m := Candidate{Member: Member{ID: id, Pinned: -1, Joined: joined}}
				if style == 1 || style == 2 && random.IntN(2) == 0 {
					m.Pinned = random.IntN(c.shards)
				}
				c.members = append(slices.Clone(c.members), m)
			}
			c.passed = make([]bool, c.shards)
			for s := range c.passed {
				c.passed[s] = random.IntN(3) == 0
			}
			next, changed := Assign(c.prev, c.members, c.shards, c.handover)
			check(c, next, changed)
			if t.Failed() {
				return
			}
			c.prev = next
		}
	}
}

// homes returns, by shard, the member that joined first of those pinned to it.
func (c scene) homes() []Candidate {
	homes := make([]Candidate, c.shards)
	for _, m := range c.members {
		if m.Pinned >= 0 && (homes[m.Pinned].ID == "" || m.Joined < homes[m.Pinned].Joined) {
			homes[m.Pinned] = m
		}
	}
	return homes
}

func TestAssignTwiceChangesNothing(t *testing.T) {
	play(t, 20, func(c scene, next Assignment, changed bool) {
		same := cmp.Equal(next.Owner, c.prev.Owner) && cmp.Equal(next.Pinned, c.prev.Pinned)
		if changed == same || changed && next.Number != c.prev.Number+1 || !changed && next.Number != c.prev.Number {
			t.Errorf("%v: changed = %v, number %d after %d: %s", c, changed, next.Number, c.prev.Number, owners(next))
		}
		again, changed := Assign(next, c.members, c.shards, c.handover)
		if changed || !cmp.Equal(again, next) {
			t.Errorf("%v: assigned %s, and again %s", c, owners(next), owners(again))
		}
	})
}

func TestPinsAreHonoured(t *testing.T) {
	play(t, 12, func(c scene, next Assignment, _ bool) {
		for s, home := range c.homes() {
			if home.ID != "" && (next.Owner[s] != home.ID || !next.Pinned[s]) {
				t.Errorf("%v: shard %d is pinned by %s: %s", c, s, home.ID, owners(next))
			}
			if home.ID == "" && c.prev.Pinned[s] && !c.passed[s] && next.Owner[s] != "" {
				t.Errorf("%v: shard %d was given away before its time: %s", c, s, owners(next))
			}
		}
	})
}

func TestOwnersLiveAndNoShardIsForgotten(t *testing.T) {
	play(t, 12, func(c scene, next Assignment, _ bool) {
		homes := c.homes()
		unpinned := slices.ContainsFunc(c.members, func(m Candidate) bool { return m.Pinned < 0 })
		for s, id := range next.Owner {
			lives := slices.ContainsFunc(c.members, func(m Candidate) bool { return m.ID == id })
			if id != "" && !lives {
				t.Errorf("%v: shard %d belongs to %s, who is not there", c, s, id)
			}
			// A shard may lack an owner only while it waits.
			waits := homes[s].ID == "" && !c.passed[s] && (c.prev.Pinned[s] || !unpinned)
			if id == "" && len(c.members) > 0 && !waits {
				t.Errorf("%v: nobody owns shard %d: %s", c, s, owners(next))
			}
		}
	})
}

// free returns the shards that unpinned workers share, and those workers.
func (c scene) free(next Assignment) (shards []int, workers []string) {
	for _, m := range c.members {
		if m.Pinned < 0 {
			workers = append(workers, m.ID)
		}
	}
	for s := range next.Owner {
		if !next.Pinned[s] {
			shards = append(shards, s)
		}
	}
	return shards, workers
}

func TestUnpinnedWorkersShareFairly(t *testing.T) {
	play(t, 30, func(c scene, next Assignment, _ bool) {
		shards, workers := c.free(next)
		if len(workers) == 0 {
			return
		}
		total := 0
		for _, id := range workers {
			n := len(next.Shards(id))
			total += n
			if n < len(shards)/len(workers) || n > (len(shards)+len(workers)-1)/len(workers) {
				t.Errorf("%v: %s owns %d of %d shards among %d workers: %s", c, id, n, len(shards), len(workers), owners(next))
			}
		}
		if total != len(shards) {
			t.Errorf("%v: unpinned workers own %d of %d free shards: %s", c, total, len(shards), owners(next))
		}
	})
}

func TestAsFewShardsMoveAsCan(t *testing.T) {
	fair := 0
	play(t, 6, func(c scene, next Assignment, _ bool) {
		shards, workers := c.free(next)
		if len(workers) == 0 || len(workers) > 4 {
			return
		}
		moves := func(owner func(i int) string) (n int) {
			for i, s := range shards {
				if before := c.prev.Owner[s]; slices.Contains(workers, before) && owner(i) != before {
					n++
				}
			}
			return n
		}
		got := moves(func(i int) string { return next.Owner[shards[i]] })
		// Every fair sharing there is.
		fewest := len(shards)
		choice := make([]int, len(shards))
		for {
			count := make([]int, len(workers))
			for _, w := range choice {
				count[w]++
			}
			if slices.Max(count)-slices.Min(count) <= 1 {
				fair++
				fewest = min(fewest, moves(func(i int) string { return workers[choice[i]] }))
			}
			i := 0
			for i < len(choice) && choice[i] == len(workers)-1 {
				choice[i] = 0
				i++
			}
			if i == len(choice) {
				break
			}
			choice[i]++
		}
		if got != fewest {
			t.Errorf("%v: %d shards moved where %d would do: %s", c, got, fewest, owners(next))
		}
	})
	if fair < 10000 {
		t.Errorf("only %d sharings were compared", fair)
	}
}

func TestWorkersThatStartTogetherOwnFewSubtrees(t *testing.T) {
	for shards := 1; shards <= 40; shards++ {
		for workers := 1; workers <= shards; workers++ {
			var words []string
			for w := range workers {
				words = append(words, fmt.Sprintf("w%d", w))
			}
			a, _ := Assign(Assignment{}, crew(strings.Join(words, " ")), shards, nil)
			for _, id := range words {
				// A run of k shards is at best as many subtrees as k has bits set, at
				// worst two of each size.
				n, most := len(cover(a.Shards(id), shards)), 0
				for k := len(a.Shards(id)); k > 0; k /= 2 {
					most += 2
				}
				if n > most {
					t.Errorf("%d shards among %d: %s owns %d subtrees, want at most %d: %s", shards, workers, id, n, most, owners(a))
				}
				if shards%workers == 0 && shards&(shards-1) == 0 && n != 1 {
					t.Errorf("%d shards among %d: %s owns %d subtrees, want 1: %s", shards, workers, id, n, owners(a))
				}
			}
		}
	}
}

func TestCoverFindsWholeSubtrees(t *testing.T) {
	for _, tc := range []struct {
		set  string // a letter for each shard: x in the set
		want string
	}{
		{"x", "[0,1)"},
		{".", ""},
		{"xxxx", "[0,4)"},
		{".xxx", "[1,2) [2,4)"},
		{"xxx.xx", "[0,2) [2,3) [4,6)"},
		{"....x", "[4,5)"},
		{".xxxxxx", "[1,2) [2,4) [4,7)"},
	} {
		var shards []int
		for s, c := range tc.set {
			if c == 'x' {
				shards = append(shards, s)
			}
		}
		var words []string
		for _, n := range cover(shards, len(tc.set)) {
			words = append(words, fmt.Sprintf("[%d,%d)", n.first, n.end))
		}
		if got := strings.Join(words, " "); got != tc.want {
			t.Errorf("cover(%s) = %s, want %s", tc.set, got, tc.want)
		}
	}
}

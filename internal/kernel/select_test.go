package kernel

import (
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

func TestNamesBeginWithPortableAndHoldTheFastest(t *testing.T) {
	names := Names()
	if len(names) == 0 || names[0] != "portable" {
		t.Fatalf("Names() = %v, want portable first", names)
	}
	useKernel(t, "")
	if fastest := names[len(names)-1]; Name() != fastest {
		t.Errorf("Select(\"\") chose %s, want the last of %v", Name(), names)
	}
}

func TestSelect(t *testing.T) {
	useKernel(t, "portable")
	for _, name := range Names() {
		if err := Select(name); err != nil || Name() != name {
			t.Errorf("Select(%q) = %v, then Name() = %q", name, err, Name())
		}
	}
	before := Name()
	for _, name := range []string{"AVX2", "avx2 ", "avx1024", "none"} {
		err := Select(name)
		if err == nil || Name() != before {
			t.Errorf("Select(%q) = %v, then Name() = %q; want an error and %q", name, err, Name(), before)
			continue
		}
		for _, part := range append([]string{name}, Names()...) {
			if !strings.Contains(err.Error(), part) {
				t.Errorf("Select(%q) = %q, want it to name %q", name, err, part)
			}
		}
	}
}

func TestSelectRefusesWhatTheMachineLacks(t *testing.T) {
	if supported(avx512) {
		t.Skip("this machine runs all kernels")
	}
	if err := Select("avx512"); err == nil || !strings.Contains(err.Error(), "lacks") {
		t.Errorf("Select(\"avx512\") = %v, want an error that says what the machine lacks", err)
	}
}

func TestVariableIsReadAtStart(t *testing.T) {
	const child = "KERNEL_TEST_CHILD"
	if os.Getenv(child) != "" {
		os.Stdout.WriteString("name=" + Name() + "\n")
		if err := Check(); err != nil {
			os.Stdout.WriteString("error=" + err.Error() + "\n")
		}
		return
	}
	fastest := Names()[len(Names())-1]
	for _, tc := range []struct {
		value, name string
		wrong       bool
	}{
		{"", fastest, false},
		{"portable", "portable", false},
		{fastest, fastest, false},
		{"avx1024", fastest, true},
	} {
		cmd := exec.Command(os.Args[0], "-test.run=^TestVariableIsReadAtStart$")
		cmd.Env = append(slices.Clone(os.Environ()), child+"=1", Variable+"="+tc.value)
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%s=%s: %v\n%s", Variable, tc.value, err, out)
		}
		if want := "name=" + tc.name + "\n"; !strings.Contains(string(out), want) {
			t.Errorf("%s=%s: output %q, want %q in it", Variable, tc.value, out, want)
		}
		want := "error=" + Variable + `: unknown kernel "` + tc.value + `" (this machine can run: ` + strings.Join(Names(), ", ") + ")\n"
		if got := strings.Contains(string(out), want); got != tc.wrong {
			t.Errorf("%s=%s: output %q; %q in it is %v, want %v", Variable, tc.value, out, want, got, tc.wrong)
		}
	}
}

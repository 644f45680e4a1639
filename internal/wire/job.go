package wire

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"

	"google.golang.org/protobuf/reflect/protoreflect"

	musterv1 "github.com/muster-train/muster/proto/muster/v1"
)

// JobText is the canonical text of a job: `name: value` for every field, in
// the order of their numbers, defaults included.
func JobText(job *musterv1.JobSpec) string {
	var b strings.Builder
	eachField(job, func(name, value string) { fmt.Fprintf(&b, "%s: %s\n", name, value) })
	return b.String()
}

// JobHash is the SHA-256 of JobText, 64 hexadecimal digits: what all parts of
// a job agree on.
func JobHash(job *musterv1.JobSpec) string {
	sum := sha256.Sum256([]byte(JobText(job)))
	return hex.EncodeToString(sum[:])
}

// JobDifference names the first field in which two jobs differ, with both
// values; it is empty where they are the same.
func JobDifference(a, b *musterv1.JobSpec) string {
	values := map[string]string{}
	eachField(a, func(name, value string) { values[name] = value })
	difference := ""
	eachField(b, func(name, value string) {
		if difference == "" && values[name] != value {
			difference = fmt.Sprintf("%s is %s here and %s there", strings.ReplaceAll(name, "_", "-"), values[name], value)
		}
	})
	return difference
}

func eachField(job *musterv1.JobSpec, f func(name, value string)) {
	m := job.ProtoReflect()
	fields := m.Descriptor().Fields()
	for number := protoreflect.FieldNumber(1); number < 100; number++ {
		fd := fields.ByNumber(number)
		if fd == nil {
			continue
		}
		v := m.Get(fd)
		text := v.String()
		if (fd.Name() == "precision" || fd.Name() == "encoding") && text == "" {
			text = "f32" // what jobs of before it could be chosen had, too
		}
		if fd.Name() == "sync" && text == "" {
			text = Sync{}.String()
		}
		switch fd.Kind() {
		case protoreflect.StringKind:
			text = strconv.Quote(text)
		case protoreflect.FloatKind:
			text = strconv.FormatFloat(v.Float(), 'g', -1, 32)
		}
		f(string(fd.Name()), text)
	}
}

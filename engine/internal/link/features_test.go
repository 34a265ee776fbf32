package link

import (
	"encoding/hex"
	"os"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/ringraft/ringraft/engine/internal/raft"
)

// earlierFields cuts what an earlier release does not know, and skips, from a hello or a
// welcome: what stands behind field 10.
func earlierFields(t *testing.T, b []byte) []byte {
	t.Helper()
	for at := 0; at < len(b); {
		field, kind, n := protowire.ConsumeTag(b[at:])
		k := protowire.ConsumeFieldValue(field, kind, b[at+max(n, 0):])
		if n < 0 || k < 0 {
			t.Fatalf("%x is no message", b)
		}
		if field > 10 {
			return b[:at]
		}
		at += n + k
	}
	return b
}

// What is said today begins with what an earlier release said, and what it does not know
// stands in fields of its own, which it skips.
func TestAnEarlierReleaseReadsWhatIsSaid(t *testing.T) {
	text, err := os.ReadFile(earlierHellos)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Fields(string(text))
	later := func(h *Hello) {
		h.Versions, h.Features = Versions{2, 9}, 1<<63
		h.Directory = raft.Directory{1 << 63, 2}
	}
	h := earlierHello()
	later(&h)
	said := [][]byte{nil}
	if said[0], err = h.encode(); err != nil {
		t.Fatal(err)
	}
	for _, w := range earlierWelcomes() {
		later(&w.Hello)
		b, err := w.encode()
		if err != nil {
			t.Fatal(err)
		}
		said = append(said, b)
	}
	for i, b := range said {
		if old := earlierFields(t, b); hex.EncodeToString(old) != lines[i] || len(old) == len(b) {
			t.Errorf("%x, and an earlier release said %s", b, lines[i])
		}
	}
}

package link

import (
	"encoding/hex"
	"fmt"
	"os"
	"strings"
	"testing"
)

// earlierHellos are what the release in testdata said to open a connection: this file, run
// there with RINGRAFT_WRITE_OLD=1, wrote them. It uses nothing that came later.
const earlierHellos = "testdata/hellos-2977094.txt"

func earlierHello() Hello {
	return Hello{Version: 2, Cluster: 0xc1c2c3c4c5c6c7c8, From: 2, To: 300, Incarnation: 7,
		Advertised: "there:7379", CommandMax: 16 << 20, RunMax: 17 << 20}
}

func earlierWelcomes() []Welcome {
	return []Welcome{{Hello: earlierHello(), Grant: 17 << 20},
		{Hello: earlierHello(), Grant: 17 << 20, Refused: "because"}}
}

// What an earlier release says has the meaning that it had: it speaks one version, and has
// neither features nor a directory.
func TestHellosOfAnEarlierRelease(t *testing.T) {
	h := earlierHello()
	if os.Getenv("RINGRAFT_WRITE_OLD") != "" {
		hello, err := h.encode()
		text := fmt.Sprintf("%x\n", hello)
		for _, w := range earlierWelcomes() {
			b, err := w.encode()
			if err != nil {
				t.Fatal(err)
			}
			text += fmt.Sprintf("%x\n", b)
		}
		if err == nil {
			err = os.WriteFile(earlierHellos, []byte(text), 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	text, err := os.ReadFile(earlierHellos)
	if err != nil {
		t.Fatal(err)
	}
	var frames [][]byte
	for line := range strings.FieldsSeq(string(text)) {
		b, err := hex.DecodeString(line)
		if err != nil {
			t.Fatal(err)
		}
		frames = append(frames, b)
	}
	welcomes := earlierWelcomes()
	if len(frames) != 1+len(welcomes) {
		t.Fatalf("%d frames", len(frames))
	}
	if back, err := decodeHello(frames[0]); err != nil || back != h {
		t.Errorf("the hello is read as %+v, %v", back, err)
	}
	for i, w := range welcomes {
		if back, err := decodeWelcome(frames[1+i]); err != nil || back != w {
			t.Errorf("the welcome is read as %+v, %v", back, err)
		}
	}
}

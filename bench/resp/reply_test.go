package resp

import (
	"slices"
	"testing"
)

func TestScanReply(t *testing.T) {
	for text, want := range map[string]Reply{
		"+OK\r\n":                             {Kind: '+', Text: []byte("OK")},
		"-ERR no\r\n":                         {Kind: '-', Text: []byte("ERR no")},
		":12\r\n":                             {Kind: ':', Text: []byte("12")},
		"$3\r\na\nb\r\n":                      {Kind: '$', Text: []byte("a\nb")},
		"$0\r\n\r\n":                          {Kind: '$'},
		"$-1\r\n":                             {Kind: '$', Null: true, Text: []byte("-1")},
		"*-1\r\n":                             {Kind: '*', Null: true, Text: []byte("-1")},
		"_\r\n":                               {Kind: '_', Null: true},
		"*2\r\n$1\r\na\r\n*1\r\n:1\r\n":       {Kind: '*', Text: []byte("2")},
		"%1\r\n+k\r\n*2\r\n:1\r\n$-1\r\n":     {Kind: '%', Text: []byte("1")},
		"*0\r\n":                              {Kind: '*', Text: []byte("0")},
		"!7\r\nERR bad\r\n":                   {Kind: '!', Text: []byte("ERR bad")},
		"*3\r\n:1\r\n$2\r\nxy\r\n-ERR in\r\n": {Kind: '*', Text: []byte("3")},
	} {
		r, ok, err := Scan([]byte(text + "+more\r\n"))
		if !ok || err != nil || r.Bytes != len(text) || r.Kind != want.Kind ||
			r.Null != want.Null || string(r.Text) != string(want.Text) {
			t.Errorf("%q: %+v %v %v", text, r, ok, err)
		}
		for n := range len(text) {
			if _, ok, err = Scan([]byte(text[:n])); ok || err != nil {
				t.Errorf("%q cut at %d: %v %v", text, n, ok, err)
			}
		}
	}
	for _, text := range []string{"\r\n", "\n", "x\r\n", "+OK\n", "$x\r\n", "$-2\r\n",
		"*9999999999\r\n", "$\r\n"} {
		if _, ok, err := Scan([]byte(text)); ok || err == nil {
			t.Errorf("%q was taken for RESP", text)
		}
	}
}

func FuzzScanReply(f *testing.F) {
	f.Add([]byte("*2\r\n$1\r\na\r\n%1\r\n+k\r\n_\r\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, ok, err := Scan(b)
		if ok && (err != nil || r.Bytes <= 0 || r.Bytes > len(b)) {
			t.Fatalf("%+v of %d bytes, %v", r, len(b), err)
		}
	})
}

func TestErrorClassAndKind(t *testing.T) {
	for text, want := range map[string]string{"-MOVED 1 a:2\r\n": "MOVED", "-ERR\r\n": "ERR",
		"-\r\n": "ERR"} {
		r, _, _ := Scan([]byte(text))
		if class, failed := r.Failed(); !failed || string(class) != want {
			t.Errorf("%q: %q %v", text, class, failed)
		}
	}
	for text, kinds := range map[string][2]bool{"+OK\r\n": {true, false},
		"+QUEUED\r\n": {false, false}, "$1\r\na\r\n": {false, true}, "$-1\r\n": {false, true},
		":1\r\n": {false, false}} {
		r, _, _ := Scan([]byte(text))
		if r.Stored() != kinds[0] || r.Fetched() != kinds[1] {
			t.Errorf("%q: set %v, get %v", text, r.Stored(), r.Fetched())
		}
	}
}

func TestElements(t *testing.T) {
	got := Elements([]byte("*4\r\n$13\r\napplied_index\r\n:42\r\n+digest\r\n$2\r\nab\r\n"))
	if want := []string{"applied_index", "42", "digest", "ab"}; !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
}

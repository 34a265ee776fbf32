package secure

import (
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func writeFile(t *testing.T, text string, mode os.FileMode) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "secrets")
	if err := os.WriteFile(path, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil { // whatever the umask
		t.Fatal(err)
	}
	return path
}

// A file's lines are its secrets, in any usual form.
func TestReadFile(t *testing.T) {
	one, two, three, four := secretOf("one"), secretOf("two"), secretOf("three"), secretOf("four")
	path := writeFile(t, "# of the cluster\n\n"+hex.EncodeToString(one)+"\r\n  "+
		base64.StdEncoding.EncodeToString(two)+"  \n"+strings.ToUpper(hex.EncodeToString(three))+
		"\n"+base64.RawURLEncoding.EncodeToString(four), 0o600)
	ks, err := ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	want := keysOf(t, "one", "two", "three", "four")
	if fmt.Sprint(ks.Names()) != fmt.Sprint(want.Names()) || ks.list[3].link != want.list[3].link {
		t.Errorf("%v, %v", ks, want)
	}
}

// What cannot be a file of secrets is refused in words that name the place and quote nothing.
func TestFilesThatAreRefused(t *testing.T) {
	secret := hex.EncodeToString(secretOf("one"))
	dir := t.TempDir()
	for _, c := range []struct{ path, says string }{
		{filepath.Join(dir, "none"), "no such file"},
		{dir, "it is no file"},
		{writeFile(t, secret, 0o644), "chmod 600"},
		{writeFile(t, secret, 0o640), "chmod 600"},
		{writeFile(t, secret, 0o620), "chmod 600"},
		{writeFile(t, "", 0o600), "raftd secret new"},
		{writeFile(t, "# nothing\n", 0o600), "raftd secret new"},
		{writeFile(t, "# one\n"+secret[:62]+"\n", 0o600), "line 2: 31 bytes"},
		{writeFile(t, secret+" "+secret+"\n", 0o600), "line 1: neither"},
		{writeFile(t, secret+"\n"+secret+"\n", 0o600), "line 2: it is there already"},
		{writeFile(t, strings.Repeat("00", 32), 0o600), "line 1: its bytes repeat"},
		{writeFile(t, strings.Repeat("passwordpassword", 4), 0o600), "line 1: "},
		{writeFile(t, strings.Repeat(secret, 9), 0o600), "line 1: 288 bytes"},
		{writeFile(t, strings.Repeat("#\n", fileMax), 0o600), "more than 8192 bytes"},
		{writeFile(t, fiveSecrets(), 0o600), "5 secrets; must be 1 to 4"},
	} {
		_, err := ReadFile(c.path)
		var bad *FileError
		if !errors.As(err, &bad) || !strings.Contains(err.Error(), c.says) ||
			!strings.HasPrefix(err.Error(), c.path+": ") {
			t.Errorf("%v; want %q", err, c.says)
		}
		if err != nil && strings.Contains(err.Error(), secret[:8]) {
			t.Errorf("the secret is quoted: %v", err)
		}
	}
}

func fiveSecrets() (text string) {
	for n := range 5 {
		text += hex.EncodeToString(secretOf(fmt.Sprint(n))) + "\n"
	}
	return text
}

// A file that is made can be read, by its owner only, and is not replaced.
func TestNewFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "secret")
	name, err := NewFile(path)
	if err != nil {
		t.Fatal(err)
	}
	ks, err := ReadFile(path)
	if err != nil || fmt.Sprint(ks.Names()) != fmt.Sprint([]string{name}) {
		t.Fatal(ks, err)
	}
	if st, err := os.Stat(path); err != nil || st.Mode().Perm() != 0o600 {
		t.Error(st.Mode(), err)
	}
	if _, err := NewFile(path); !errors.Is(err, os.ErrExist) {
		t.Error(err)
	}
	if after, err := ReadFile(path); err != nil || after.list[0].link != ks.list[0].link {
		t.Error("the file was replaced", err)
	}
	if _, err := NewFile(filepath.Join(path, "in", "a", "file")); err == nil {
		t.Error("a path that leads nowhere is taken")
	}
}

// Each use has a key of its own, which must not change: RFC 5869 with SHA-256.
func TestDerive(t *testing.T) {
	ks := keysOf(t, "one", "two")
	seen := map[[32]byte]Label{}
	for _, l := range []Label{LabelLink, LabelDatagram, LabelHeartbeat, LabelClusterTag,
		labelName} {
		keys := ks.Derive(l)
		if len(keys) != 2 {
			t.Fatalf("%d keys", len(keys))
		}
		for _, k := range keys {
			if other, ok := seen[k]; ok {
				t.Errorf("%q and %q have one key", l, other)
			}
			seen[k] = l
		}
	}
	if got := hex.EncodeToString(ks.list[0].link[:]); got != "9f302c0bb9be2033d1393a6738e516a9"+
		"7bd9e92ba62cc5f5ea6e5df5114dbc9f" {
		t.Errorf("the key of links is %s", got)
	}
}

// Nothing that prints keys prints a secret.
func TestKeysArePrintedByName(t *testing.T) {
	ks := keysOf(t, "one")
	var log strings.Builder
	slog.New(slog.NewTextHandler(&log, nil)).Info("x", "keys", ks)
	slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "keys", ks)
	text := log.String() + fmt.Sprintf("%v %+v %s %#v", ks, struct{ K *Keys }{ks}, ks, ks.Names())
	for _, secret := range []string{hex.EncodeToString(secretOf("one"))[:8],
		fmt.Sprint(secretOf("one"))[1:12], hex.EncodeToString(ks.list[0].link[:])[:8]} {
		if strings.Contains(text, secret) {
			t.Errorf("%q is in %s", secret, text)
		}
	}
	if !strings.Contains(text, ks.Names()[0]) {
		t.Error("the name is not printed")
	}
}

package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// browser is a headless Chromium that shows one page. It is told by pipes what to do, in the
// protocol of its developer tools: JSON, and a zero byte behind each message.
type browser struct {
	t       *testing.T
	in      *os.File
	out     *bufio.Reader
	session string
	count   int
	wrong   []string // what the page complained of
	asked   []string // what the page asked for
}

// openBrowser starts Chromium if RINGRAFT_CHROMIUM is set: to 1, or to the program's path.
func openBrowser(t *testing.T) *browser {
	t.Helper()
	name := os.Getenv("RINGRAFT_CHROMIUM")
	if name == "" {
		t.Skip("RINGRAFT_CHROMIUM is not set: it starts a browser")
	}
	if name == "1" {
		name = "chromium"
	}
	childIn, in, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	out, childOut, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(name, "--headless=new", "--no-sandbox", "--disable-gpu",
		"--hide-scrollbars", "--remote-debugging-pipe", "--user-data-dir="+t.TempDir(),
		"about:blank")
	cmd.ExtraFiles = []*os.File{childIn, childOut}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	childIn.Close()
	childOut.Close()
	b := &browser{t: t, in: in, out: bufio.NewReader(out)}
	t.Cleanup(func() {
		b.session = ""
		b.call("Browser.close", nil, nil)
		_ = cmd.Wait() // it was told to end
		in.Close()
		out.Close()
	})
	var target struct{ TargetID string }
	b.call("Target.createTarget", map[string]any{"url": "about:blank"}, &target)
	var attached struct{ SessionID string }
	b.call("Target.attachToTarget", map[string]any{"targetId": target.TargetID, "flatten": true},
		&attached)
	b.session = attached.SessionID
	for _, domain := range []string{"Page", "Runtime", "Log", "Network"} {
		b.call(domain+".enable", nil, nil)
	}
	return b
}

// call waits for the answer, and notes what happens meanwhile.
func (b *browser) call(method string, params map[string]any, result any) {
	b.t.Helper()
	b.count++
	message := map[string]any{"id": b.count, "method": method, "params": params}
	if params == nil {
		delete(message, "params")
	}
	if b.session != "" {
		message["sessionId"] = b.session
	}
	text, err := json.Marshal(message)
	if err == nil {
		_, err = b.in.Write(append(text, 0))
	}
	if err != nil {
		b.t.Fatal(err)
	}
	for {
		text, err := b.out.ReadBytes(0)
		if err != nil {
			b.t.Fatal(method, err)
		}
		var answer struct {
			ID     int
			Method string
			Params json.RawMessage
			Result json.RawMessage
			Error  *struct{ Message string }
		}
		if err := json.Unmarshal(bytes.TrimSuffix(text, []byte{0}), &answer); err != nil {
			b.t.Fatal(err)
		}
		if answer.ID != b.count {
			b.note(answer.Method, answer.Params)
			continue
		}
		if answer.Error != nil {
			b.t.Fatal(method, answer.Error.Message)
		}
		if result != nil {
			if err := json.Unmarshal(answer.Result, result); err != nil {
				b.t.Fatal(method, err)
			}
		}
		return
	}
}

func (b *browser) note(event string, params json.RawMessage) {
	switch event {
	case "Runtime.exceptionThrown", "Runtime.consoleAPICalled", "Log.entryAdded":
		b.wrong = append(b.wrong, string(params))
	case "Network.requestWillBeSent":
		var p struct{ Request struct{ URL string } }
		if json.Unmarshal(params, &p) == nil {
			b.asked = append(b.asked, p.Request.URL)
		}
	}
}

// value is an expression of the page's as text.
func (b *browser) value(expression string) string {
	b.t.Helper()
	var r struct {
		Result           struct{ Value any }
		ExceptionDetails json.RawMessage
	}
	b.call("Runtime.evaluate", map[string]any{"expression": expression, "returnByValue": true}, &r)
	if r.ExceptionDetails != nil {
		b.t.Fatal(expression, string(r.ExceptionDetails))
	}
	return fmt.Sprint(r.Result.Value)
}

// awaits waits until an expression of the page is what it should be.
func (b *browser) awaits(what, expression string) {
	b.t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	for b.value(expression) != "true" {
		if time.Now().After(deadline) {
			b.t.Fatalf("%s: the page says %q", what, b.value("document.body.innerText"))
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func (b *browser) show(width int, scheme string) {
	b.t.Helper()
	b.call("Emulation.setDeviceMetricsOverride", map[string]any{"width": width, "height": 800,
		"deviceScaleFactor": 1, "mobile": width < 500}, nil)
	b.call("Emulation.setEmulatedMedia", map[string]any{"features": []map[string]string{
		{"name": "prefers-color-scheme", "value": scheme}}}, nil)
}

func (b *browser) key(name string) {
	b.t.Helper()
	for _, kind := range []string{"keyDown", "keyUp"} {
		b.call("Input.dispatchKeyEvent", map[string]any{"type": kind, "key": name, "code": name,
			"windowsVirtualKeyCode": map[string]int{"Tab": 9, "Enter": 13, "ArrowLeft": 37}[name],
			"text":                  map[string]string{"Enter": "\r"}[name]}, nil)
	}
}

// textOf is of a page that may not be there yet.
const textOf = "(document.getElementById('%s')?.textContent ?? '')"

func shows(id, text string) string {
	return fmt.Sprintf(textOf+".includes(%q)", id, text)
}

// TestLivePageInABrowser: RINGRAFT_CHROMIUM=1 go test -run LivePageIn ./cmd/raftd
func TestLivePageInABrowser(t *testing.T) {
	b := openBrowser(t)
	members := cluster(t)
	lead, others := leader(t, members)
	c := client(t, lead, 3)
	write := func() {
		for i := range 50 {
			if err := c.Set(t.Context(), fmt.Sprint(i), "v", 0).Err(); err != nil {
				t.Fatal(err)
			}
		}
	}
	b.show(1440, "light")
	b.call("Page.navigate", map[string]any{"url": "http://" + lead.plan.http + "/"}, nil)
	b.awaits("the leader", shows("role", "leader"))
	b.awaits("well", shows("verdict", "leads, and is well"))
	b.awaits("members", "document.querySelectorAll('#rows tr').length === 3")
	b.awaits("lanes", "document.querySelectorAll('.rail').length === 3")
	write()
	b.awaits("writes", fmt.Sprintf("!['0', '–'].includes("+textOf+")", "now-writes"))
	write()
	b.awaits("the cursor",
		fmt.Sprintf("Number("+textOf+".replaceAll(',', '')) >= 100", "log-applied"))
	if got := b.value("document.querySelectorAll('#members [role=row]').length"); got != "4" {
		t.Errorf("the table has %s rows", got)
	}
	ground := "getComputedStyle(document.body).backgroundColor"
	light := b.value(ground)
	b.show(360, "dark")
	dark := b.value(ground)
	if light == dark {
		t.Errorf("light and dark are %s", light)
	}
	b.awaits("no scrolling sideways", "document.documentElement.scrollWidth <= 360")
	b.show(1440, "light")
	pressed := func() string { return b.value("document.activeElement.id") }
	for range 20 { // past the link that skips to the members
		if b.key("Tab"); pressed() == "theme" {
			break
		}
	}
	b.key("Enter") // light
	b.key("Enter") // dark
	if got := b.value(ground); pressed() != "theme" || got != dark {
		t.Errorf("focus is on %q, and the ground is %s instead of %s", pressed(), got, dark)
	}
	chart := "document.activeElement.getAttribute('role')"
	for range 20 {
		if b.key("Tab"); b.value(chart) == "slider" {
			break
		}
	}
	b.key("ArrowLeft")
	got := b.value("document.activeElement.getAttribute('aria-valuetext')")
	if !strings.HasPrefix(got, "1 s ago: ") {
		t.Errorf("the chart says %q", got)
	}
	gone := others[0].engine.Status().ID
	if err := others[0].engine.Close(); err != nil {
		t.Fatal(err)
	}
	b.awaits("who is away", shows("verdict", fmt.Sprintf("Member %d is not connected", gone)))
	for _, url := range b.asked {
		if !strings.HasPrefix(url, "http://"+lead.plan.http+"/") {
			t.Errorf("the page asked for %s", url)
		}
	}
	if len(b.wrong) > 0 {
		t.Errorf("the page complained: %s", strings.Join(b.wrong, "\n"))
	}
}

// A page outlives its member: it says since when it is not reachable, and goes on with the next.
func TestLivePageInABrowserOutlivesRestarts(t *testing.T) {
	b := openBrowser(t)
	dir, at := t.TempDir(), []string{"--http", freeAddress(t), "--peer", freeAddress(t)}
	d := launch(t, dir, at...)
	leader(t, []*daemon{d})
	b.show(1440, "dark")
	b.call("Page.navigate", map[string]any{"url": "http://" + d.plan.http + "/"}, nil)
	b.awaits("well", shows("verdict", "leads, and is well"))
	if err := d.stop(); err != nil {
		t.Fatal(err)
	}
	b.awaits("it is gone", shows("verdict", "not reachable since"))
	b.awaits("the state is marked as old", "document.body.classList.contains('lost')")
	member(t, dir, at...)
	b.awaits("it is back", shows("verdict", "leads, and is well"))
	b.awaits("the state is new", "!document.body.classList.contains('lost')")
	if got := b.value(fmt.Sprintf(textOf, "term")); got == "1" {
		t.Errorf("term %s after a restart", got)
	}
}

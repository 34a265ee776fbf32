package load

import (
	"testing"
	"time"
)

func TestDoorbell(t *testing.T) {
	d, err := newDoorbell()
	if err != nil {
		t.Fatal(err)
	}
	defer d.close()
	d.ring()
	if err = d.wait(time.Hour); err != nil { // rung before: does not sleep
		t.Fatal(err)
	}
	done := make(chan error)
	go func() {
		var err error
		for range 100 {
			if err == nil {
				err = d.wait(sleepMax)
			}
			done <- err
		}
		close(done)
	}()
	for err := range done {
		if err != nil {
			t.Fatal(err)
		}
		d.ring()
	}
}

package engine

import (
	"errors"
	"testing"

	"github.com/ringraft/ringraft/engine/internal/member"
)

// What became of a transfer is reported in one line that names the member, and is
// both ErrTransfer and its cause.
func TestTransferErrorsAreNamed(t *testing.T) {
	for _, x := range []struct {
		to    uint64
		cause error
		says  string
	}{
		{2, ErrNotTaken, "ringraft: leadership was not transferred to member 2: " +
			"it did not take over within an election timeout"},
		{0, ErrNotConnected, "ringraft: leadership was not transferred to another member: " +
			"it is not connected"},
	} {
		err := new(Engine).transferError(x.to, x.cause)
		if !errors.Is(err, ErrTransfer) || !errors.Is(err, x.cause) || err.Error() != x.says {
			t.Errorf("to %d: %v", x.to, err)
		}
	}
	if err := new(Engine).transferError(2, nil); err != nil {
		t.Errorf("a transfer that came about: %v", err)
	}
	if err := new(Engine).transferError(2, member.ErrClosed); !errors.Is(err, ErrClosed) {
		t.Errorf("a transfer that the end cut short: %v", err)
	}
}

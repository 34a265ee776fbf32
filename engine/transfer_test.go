package engine

import (
	"errors"
	"testing"
)

// Whoever names a member is not told that it leads when another one does.
func TestTransferIsNotClaimedForAnother(t *testing.T) {
	for _, x := range []struct {
		named, leader uint64
		want          error
		says          string
	}{
		{0, 3, nil, ""},
		{0, 0, nil, ""},
		{2, 2, nil, ""},
		{2, 3, ErrAnotherWon, "ringraft: leadership was not transferred to member 2: another member won the election: member 3 leads"},
		{2, 0, ErrNobodyWon, "ringraft: leadership was not transferred to member 2: nobody is known to have won the election yet"},
	} {
		h := &handover{named: x.named, to: 2}
		err := h.verdict(x.leader)
		if !errors.Is(err, x.want) || err != nil && (!errors.Is(err, ErrTransfer) || err.Error() != x.says) {
			t.Errorf("%d named, %d leads: %v", x.named, x.leader, err)
		}
	}
}

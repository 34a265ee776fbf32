// Package private says whether a file keeps a secret.
package private

import (
	"io/fs"
	"os"
	"syscall"
)

// Kept reports whether nobody can read or change the file but its owner, or, when it is root's
// and this process is not root, its owner and its group. Service managers hand secrets over in
// such files: systemd's credentials have an access list, whose mask is shown as the group's
// bits, and the volumes of secrets of Kubernetes are readable by the pod's fsGroup. PostgreSQL
// has the same rule for keys.
func Kept(st fs.FileInfo) bool { return kept(st, os.Geteuid()) }

func kept(st fs.FileInfo, euid int) bool {
	others := st.Mode().Perm() & 0o077
	if sys, ok := st.Sys().(*syscall.Stat_t); ok && sys.Uid == 0 && euid != 0 {
		others &^= 0o040
	}
	return others == 0
}

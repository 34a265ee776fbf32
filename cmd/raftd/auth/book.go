// Package auth knows users: their passwords, and what each of them may do. Rules are those of
// Redis 7.0, in its words and with its messages.
//
// Nothing here knows sockets or the table of commands: a Book is made from that table once, and
// rules speak of what is in it.
//
// A User and a Table never change. Registry replaces the table as a whole, so whoever checks a
// command reads one pointer and takes no lock:
//
//	ACL SETUSER ─► Registry.Set ─► new User ─► new Table ─► one atomic store
//	command     ─► Registry.Table (one load) ─► User.Check
//
// Passwords are kept as SHA-256, as Redis keeps them: passwords that people choose are found from
// that by trying, so keep files with users secret. raftd asks for mode 0600.
package auth

import "strings"

// Command is a command, or a subcommand, that rules can name.
type Command struct {
	Name       string   // lower case; a subcommand with the outer name: config|get
	Categories []string // lower case, without @
}

// Book numbers the commands: a rule becomes bits in a set. It never changes.
type Book struct {
	commands []Command
	ids      map[string]int
	subs     [][]int // of a command: its subcommands
}

// Categories are those of Redis, in its order.
var Categories = strings.Fields(`keyspace read write set sortedset list hash string bitmap
	hyperloglog geo stream pubsub admin fast slow blocking dangerous connection transaction
	scripting`)

// NewBook makes a book; a command's number is its place. Subcommands stand behind their command.
func NewBook(commands []Command) *Book {
	b := &Book{commands: commands, ids: make(map[string]int, len(commands)),
		subs: make([][]int, len(commands))}
	for i, c := range commands {
		b.ids[c.Name] = i
		if outer, _, ok := strings.Cut(c.Name, "|"); ok {
			of := b.ids[outer]
			b.subs[of] = append(b.subs[of], i)
		}
	}
	return b
}

// In lists the commands of a category, in the order of the book; ok is false when there is no such
// category.
func (b *Book) In(category string) (names []string, ok bool) {
	category = strings.ToLower(category)
	for _, c := range Categories {
		ok = ok || c == category
	}
	for _, c := range b.commands {
		if c.in(category) {
			names = append(names, c.Name)
		}
	}
	return names, ok
}

// Len is how many commands there are, subcommands among them.
func (b *Book) Len() int { return len(b.commands) }

// Name is the name of a command by its number.
func (b *Book) Name(number int) string { return b.commands[number].Name }

func (c *Command) in(category string) bool {
	for _, x := range c.Categories {
		if x == category {
			return true
		}
	}
	return false
}

package load

import (
	"strings"
	"testing"
)

func TestConfigRefusesWhatCannotBe(t *testing.T) {
	for want, change := range map[string]func(*Config){
		"-d":            func(c *Config) { c.ValueBytes = 0 },
		"--outstanding": func(c *Config) { c.Outstanding = 0 },
		"-d in bytes":   func(c *Config) { c.Outstanding, c.ValueBytes = 1<<20, 1<<20 },
		"--rate":        func(c *Config) { c.Rate = -1 },
		"--duration":    func(c *Config) { c.Duration = 0 },
		"--pipeline":    func(c *Config) { c.Pipeline = "diagonal" },
		"--threads":     func(c *Config) { c.Threads = "many" },
		"none of loop":  func(c *Config) { c.Driver = "hand" },
		"no clock":      func(c *Config) { c.Driver, c.Rate = DriverLoop, 10 },
		"another owner": func(c *Config) { c.Driver, c.Threads = DriverLoop, "threaded" },
		"--ratio":       func(c *Config) { c.Sets = 0 },
		"--addrs":       func(c *Config) { c.Addrs = []string{"nowhere"} },
		"-c:":           func(c *Config) { c.Addrs, c.Connections = []string{"a:1"}, 0 },
	} {
		c := DefaultConfig()
		change(&c)
		if err := c.Check(); err == nil || !strings.Contains(err.Error(), want) ||
			strings.Contains(err.Error(), "\n") {
			t.Errorf("%q: %v", want, err)
		}
	}
}

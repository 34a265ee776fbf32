package engine

// ConfigError is a mistake in what the builder was told. Nothing was started.
type ConfigError struct {
	Option  string
	Problem string
}

func (e *ConfigError) Error() string { return "ringraft: " + e.Option + ": " + e.Problem }

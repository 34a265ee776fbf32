//go:build poison

package poison

// On tells that this is a build that poisons.
const On = true

//go:build race

package sqlaudit_test

// rounds is how often what is random is tried: SQLite is thirty times slower where each of its steps is looked at for races.
const rounds = 2

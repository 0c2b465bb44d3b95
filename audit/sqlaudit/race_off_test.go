//go:build !race

package sqlaudit_test

const rounds = 6

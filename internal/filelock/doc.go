// Package filelock keeps a second process from a file that is one process's alone.
package filelock

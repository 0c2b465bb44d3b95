package kbresend

// TagValue is open to the tests.
var TagValue = tagValue

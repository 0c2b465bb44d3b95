package aws

// Guard is for tests.
var Guard = guard

// Package processtest shows the brake's promises with real processes: some that enforce, each with its own brake
// over one Redis, and one that issues, revokes and looks at the books. The tests start this test's own binary again
// as those processes, kill them in the middle of a call, stop their keys from elsewhere and take their Redis away.
// What really happened is asked of the fake vendor, which the tests' process runs, and never of our own books.
//
// A process that is to die at a certain point of a call stops there by itself and says so; then it is killed. No
// test waits for a time to pass.
package processtest

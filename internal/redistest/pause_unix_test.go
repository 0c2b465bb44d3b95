//go:build unix

package redistest_test

import (
	"context"
	"testing"
	"time"

	"github.com/keybrake/keybrake-go/internal/redistest"
)

func TestAPausedServerAnswersNothingUntilItGoesOn(t *testing.T) {
	s := redistest.Serve(t)
	rdb, ctx := client(t, s), context.Background()
	must(t, rdb.Ping(ctx).Err()) // the connection is made
	must(t, s.Pause())
	if rdb.Incr(ctx, "a").Err() == nil {
		t.Fatal("a paused server answers")
	}
	must(t, s.Continue())
	for deadline := time.Now().Add(10 * time.Second); rdb.Get(ctx, "a").Val() != "1"; {
		if time.Now().After(deadline) {
			t.Fatal("what was sent during the pause was not taken")
		}
	}
}

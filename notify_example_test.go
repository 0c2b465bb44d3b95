package keybrake_test

import (
	"context"
	"io"
	"log"
	"net/http"
	"os"
	"sync"

	"github.com/keybrake/keybrake-go"
	"github.com/keybrake/keybrake-go/audit"
)

func ExampleBrake_Alerter() {
	_ = func(ctx context.Context, brake *keybrake.Brake) error {
		hook, err := audit.Webhook("https://hooks.example.com/keybrake", os.Getenv("KEYBRAKE_HOOK_SECRET"), nil) // whsec_ and `openssl rand -base64 32`
		if err != nil {
			return err
		}
		alerter, err := brake.Alerter(keybrake.AlerterConfig{Tenants: []string{"acme"}, Notifier: hook})
		if err != nil {
			return err
		}
		go func() { log.Print(alerter.Run(ctx)) }() // or alerter.Pass(ctx) in a cron job
		return nil
	}
}

// A had knows what was there before.
type had struct {
	mu  sync.Mutex
	ids map[string]bool
}

func (o *had) before(id string) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	known := o.ids[id]
	o.ids[id] = true
	return known
}

// receiving is the receiver of docs/alerts.md, which TestAlertsPageRuns runs.
func receiving(secret string, tell func(audit.Event)) http.Handler {
	seen := &had{ids: map[string]bool{}}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, audit.MaxWebhook))
		if err != nil {
			http.Error(w, "too long", http.StatusRequestEntityTooLarge)
			return
		}
		event, err := audit.VerifyWebhook(r.Header, body, secret)
		if err != nil {
			http.Error(w, "not signed", http.StatusUnauthorized)
			return
		}
		if seen.before(event.ID) { // the same event may come twice
			return
		}
		tell(event)
	})
}

package main

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/stripe/stripe-go/v76"

	"github.com/keybrake/keybrake-go"
	"github.com/keybrake/keybrake-go/internal/fakevendor"
	"github.com/keybrake/keybrake-go/reason"
)

// A scene is one thing that happens.
type scene struct {
	title string
	play  func(*stage, context.Context) error
}

var story = []scene{
	{"a refund, a text and a mail", (*stage).works},
	{"an agent gone wild: the same refund, 150 times", (*stage).loops},
	{"the same from 20 goroutines at once", (*stage).loopsAtOnce},
	{"endpoints that nobody allowed", (*stage).wanders},
	{"a text to a country that the policy does not name", (*stage).phonesAbroad},
	{"one run is revoked, its neighbour goes on", (*stage).isRevoked},
	{"a reply is lost, and stripe-go sends again", (*stage).retries},
	{"vendors that do not answer", (*stage).waits},
}

// works is what an agent is there for.
func (s *stage) works(ctx context.Context) error {
	a, err := s.agent(ctx, s.brake, "careful")
	if err != nil {
		return err
	}
	return errors.Join(a.refund(), a.text(american), a.mail())
}

// loops refunds 20.00 USD 150 times. The run has 80.00 USD, so four are executed.
func (s *stage) loops(ctx context.Context) error {
	a, err := s.agent(ctx, s.brake, "looping")
	if err != nil {
		return err
	}
	for range 150 {
		if err = a.refund(); unexpected(err) {
			return err
		}
	}
	return s.tell.reads(err, reason.BudgetExceeded)
}

// loopsAtOnce does the same from 20 goroutines: whatever their order, four are executed.
func (s *stage) loopsAtOnce(ctx context.Context) error {
	a, err := s.agent(ctx, s.brake, "parallel")
	if err != nil {
		return err
	}
	calls := make(chan int, 150)
	for i := range 150 {
		calls <- i
	}
	close(calls)
	failed := make(chan error, 150)
	var agents sync.WaitGroup
	for range 20 {
		agents.Go(func() {
			for range calls {
				if err := a.refund(); unexpected(err) {
					failed <- err
				}
			}
		})
	}
	agents.Wait()
	close(failed)
	return <-failed // nil when there is none
}

// wanders asks for what no rule allows, and for what no rule could allow.
func (s *stage) wanders(ctx context.Context) error {
	a, err := s.agent(ctx, s.brake, "curious")
	if err != nil {
		return err
	}
	_, err = a.stripe.Payouts.New(&stripe.PayoutParams{Amount: stripe.Int64(100_000), Currency: stripe.String("usd")})
	if err := s.tell.reads(err, reason.OperationDenied); err != nil {
		return err
	}
	_, err = a.stripe.WebhookEndpoints.New(&stripe.WebhookEndpointParams{
		URL: stripe.String("https://evil.example/events"), EnabledEvents: stripe.StringSlice([]string{"*"}),
	})
	return s.tell.reads(err, reason.OperationHardDenied)
}

// phonesAbroad texts a British number; the policy names the United States.
func (s *stage) phonesAbroad(ctx context.Context) error {
	a, err := s.agent(ctx, s.brake, "roaming")
	if err != nil {
		return err
	}
	return s.tell.reads(a.text(british), reason.CountryDenied)
}

// isRevoked stops one of two runs that work side by side with one Stripe account.
func (s *stage) isRevoked(ctx context.Context) error {
	stopped, err := s.agent(ctx, s.brake, "stopped")
	if err != nil {
		return err
	}
	neighbour, err := s.agent(ctx, s.brake, "neighbour")
	if err != nil {
		return err
	}
	if err := errors.Join(stopped.refund(), neighbour.refund()); err != nil {
		return err
	}
	if _, err := s.brake.Revoke(ctx, keybrake.ByRun(tenant, "stopped").Because("it refunds the wrong orders")); err != nil {
		return err
	}
	err = stopped.refund()
	if err := neighbour.refund(); err != nil {
		return err
	}
	return s.tell.reads(err, reason.KeyRevoked)
}

// retries loses the reply to a refund that Stripe has executed. stripe-go sends it again with the same idempotency
// key, by which the brake knows the same spend and Stripe the same refund: in the end there is no doubt.
func (s *stage) retries(ctx context.Context) error {
	a, err := s.agent(ctx, s.brake, "retrying")
	if err != nil {
		return err
	}
	s.fake.Misbehave(fakevendor.Fault{Method: "POST", Kind: fakevendor.DropAfter})
	return a.refund()
}

// waits texts and mails, for which there are no such keys, and gets no answer. Twilio has sent the text and Resend has
// not sent the mail; from here the two look the same, so both stay held, and the SDKs are told not to send again.
func (s *stage) waits(ctx context.Context) error {
	a, err := s.agent(ctx, s.hasty, "waiting")
	if err != nil {
		return err
	}
	s.fake.Misbehave(fakevendor.Fault{Host: "api.twilio.com", Kind: fakevendor.BlockAfter})
	if err := s.tell.reads(a.text(american), reason.InDoubt); err != nil {
		return err
	}
	s.fake.Misbehave(fakevendor.Fault{Host: "api.resend.com", Kind: fakevendor.BlockBefore})
	if err := s.tell.reads(a.mail(), reason.InDoubt); err != nil {
		return err
	}
	holds, err := s.brake.InDoubt(ctx, tenant)
	for _, h := range holds {
		s.tell.note("for a person to look up, Brake.InDoubt: %s of run %s, reservation %s, holds %s", h.Operation, s.runOf(h.Key), h.ID, usd(held(h)))
	}
	return err
}

// unexpected reports whether err is another one than a refusal.
func unexpected(err error) bool {
	_, refused := keybrake.DenialFrom(err)
	return err != nil && !refused
}

// reads tells what the agent reads of a refusal, which has to be for the reason that the scene is about.
func (n *narrator) reads(err error, want reason.Code) error {
	d, ok := keybrake.DenialFrom(err)
	if !ok || d.Reason != want {
		return fmt.Errorf("the agent got error %v, and should have been refused with %s", err, want)
	}
	n.note("keybrake.DenialFrom finds in the %T: %v", err, d)
	return nil
}

package kbresend

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/keybrake/keybrake-go/cost"
	"github.com/keybrake/keybrake-go/vendors"
)

// An apiError is the body of Resend's refusals, and of ours.
type apiError struct {
	Name       string `json:"name"`
	Message    string `json:"message"`
	StatusCode int    `json:"statusCode"`
}

// outcome reads what a first send's reply proves. Only Resend's own error object under a 4xx is proof that
// nothing was sent: a 4xx page of something in between proves nothing, nor does any 5xx
// (Resend's documentation, read November 2026).
func outcome(c *vendors.Call, r *vendors.Reply) vendors.Outcome {
	if r.Status < 400 || r.Status > 499 {
		return vendors.ByStatus(c, r)
	}
	var e apiError
	if json.Unmarshal(r.Body, &e) != nil || e.Name == "" || e.Message == "" || e.StatusCode < 400 || e.StatusCode > 499 {
		return vendors.OutcomeUnknown
	}
	switch {
	case r.Status == http.StatusRequestTimeout:
		return vendors.OutcomeUnknown
	case r.Status == http.StatusConflict && e.Name != "invalid_idempotent_request":
		// concurrent_idempotent_requests: the same call is under way and may yet be executed.
		return vendors.OutcomeUnknown
	}
	return vendors.NotExecuted
}

// settleSend books the bound: the reply names the mail and no price. One that is scheduled is not final, since it costs
// nothing if it is canceled.
func settleSend(c *vendors.Call, b vendors.Bound, r *vendors.Reply) (vendors.Settlement, error) {
	s, err := settleCreate(c, b, r)
	if err == nil && scheduled(c) {
		s.Again = firstLook
	}
	return s, err
}

// firstLook is when a scheduled mail is looked at first; the answer says when it will be sent.
const firstLook = time.Hour

func scheduled(c *vendors.Call) bool {
	return slices.ContainsFunc(c.Params, func(p vendors.Param) bool {
		return vendors.Collapse(p.Name) == "scheduled_at" && p.Value != ""
	})
}

// settleCreate books the bound of what the reply names by its id alone.
func settleCreate(_ *vendors.Call, b vendors.Bound, r *vendors.Reply) (vendors.Settlement, error) {
	var sent struct {
		ID string `json:"id"`
	}
	if err := json.Unmarshal(r.Body, &sent); err != nil || sent.ID == "" {
		return vendors.Settlement{}, errors.New("kbresend: the reply names no mail")
	}
	return vendors.Settlement{Actual: b.Lines, Objects: []string{sent.ID}}, nil
}

// A batchReply is what /emails/batch answers. Data are the mails that were sent, in order; Errors, in permissive
// mode, those that were not, by their position in the request.
type batchReply struct {
	Data []struct {
		ID string `json:"id"`
	} `json:"data"`
	Errors []struct {
		Index *int `json:"index"`
	} `json:"errors"`
}

// settleBatch books all mails of a strict batch, which is all or nothing, and of a permissive one those that the
// reply does not list as failed.
func (t tariff) settleBatch(c *vendors.Call, b vendors.Bound, r *vendors.Reply) (vendors.Settlement, error) {
	mails, err := mailsOf(c.JSON)
	if err != nil {
		return vendors.Settlement{}, err
	}
	var reply batchReply
	if err := json.Unmarshal(r.Body, &reply); err != nil || reply.Data == nil {
		return vendors.Settlement{}, errors.New("kbresend: the reply to a batch names no mails")
	}
	s := vendors.Settlement{Actual: b.Lines}
	if scheduled(c) && len(reply.Data) <= vendors.MostLooks { // of more than that, a canceled one stays booked
		s.Again = firstLook
	}
	for _, sent := range reply.Data {
		if sent.ID == "" {
			return vendors.Settlement{}, errors.New("kbresend: the reply to a batch has a mail without an id")
		}
		s.Objects = append(s.Objects, sent.ID)
	}
	if c.Header.Get(batchValidation) != "permissive" {
		if len(reply.Data) != len(mails) || len(reply.Errors) > 0 {
			s.Flag = "strict batch sent in part" // Resend promises all or nothing; what it says it did not send is not proof
		}
		return s, nil
	}
	executed, err := reply.executed(len(mails))
	if err != nil {
		return vendors.Settlement{}, err
	}
	s.Actual, err = t.linesOf(mails, executed)
	return s, err
}

// executed says for each of n mails whether it was sent. A reply that does not account for every mail exactly once
// is an error, so that the hold stays.
func (reply batchReply) executed(n int) ([]bool, error) {
	executed := make([]bool, n)
	for i := range executed {
		executed[i] = true
	}
	for _, e := range reply.Errors {
		if e.Index == nil || *e.Index < 0 || *e.Index >= n || !executed[*e.Index] {
			return nil, errors.New("kbresend: the reply to a batch has an error without a mail")
		}
		executed[*e.Index] = false
	}
	if len(reply.Data)+len(reply.Errors) != n {
		return nil, fmt.Errorf("kbresend: the reply accounts for %d mails of %d", len(reply.Data)+len(reply.Errors), n)
	}
	return executed, nil
}

// linesOf is the cost of the mails that were sent.
func (t tariff) linesOf(mails []any, executed []bool) (lines []cost.Line, err error) {
	n := 0
	for i, m := range mails {
		if !executed[i] {
			continue
		}
		recipients, err := recipientsOf(m)
		if err != nil {
			return nil, err
		}
		n += len(recipients)
	}
	return t.lines(n)
}

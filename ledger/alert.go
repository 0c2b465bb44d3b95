package ledger

import (
	"errors"
	"fmt"
	"time"
	"unicode/utf8"
)

// An Alert is something that happened which a person should hear of. Where the ledger sees it happen it is stored in the
// same step, so that neither is there without the other.
type Alert struct {
	ID      string    // stable; the tenant's own
	Kind    AlertKind // AlertThreshold, AlertOverrun, AlertFrozen, or what [Ledger.Alert] was given
	Key     string    // the key that it is about; of a threshold, whose own budget it is, empty for a shared one
	Hold    string    // the id of the reservation that it is about; of a threshold empty
	State   State     // of a threshold, the budget when it crossed; of an overrun, the first that was overrun, afterwards
	Percent int       // of a threshold, in percent of the limit
	Excess  int64     // of an overrun, by how much the booking was above what was held in that budget
	Memo    string    // what [Ledger.Alert] was given
	At      time.Time // by the ledger's clock; set by the ledger
}

// An AlertKind says what happened.
type AlertKind string

// The kinds that the ledger stores itself.
const (
	// A budget has reached a share of its limit: once for each budget, window and share.
	AlertThreshold AlertKind = "threshold"

	// A settlement was above what was held, and was booked in full: once for each reservation.
	AlertOverrun AlertKind = "overrun"

	// An overrun has frozen its key, which was not frozen before: once for each time that it has.
	AlertFrozen AlertKind = "frozen"
)

// MostAlertMemo bounds the memo of an [Alert], in bytes.
const MostAlertMemo = 4 << 10

// AlertMemory is how long the id of an alert that [Ledger.Alert] was given is remembered.
const AlertMemory = 31 * 24 * time.Hour

// Valid reports why [Ledger.Alert] would not take a, if it would not.
func (a Alert) Valid() error {
	switch {
	case a.ID == "" || len(a.ID) > 512:
		return fmt.Errorf("ledger: an alert needs an id of at most 512 bytes, not of %d", len(a.ID))
	case a.Kind == "" || a.Kind == AlertThreshold || a.Kind == AlertOverrun || a.Kind == AlertFrozen:
		return fmt.Errorf("ledger: an alert of the kind %q is the ledger's own to store", a.Kind)
	case len(a.Memo) > MostAlertMemo:
		return fmt.Errorf("ledger: an alert's memo of %d bytes is longer than %d", len(a.Memo), MostAlertMemo)
	}
	for _, s := range []string{a.ID, string(a.Kind), a.Key, a.Hold, a.Memo} {
		if !utf8.ValidString(s) {
			return errors.New("ledger: an alert's id, kind, key, hold and memo are UTF-8")
		}
	}
	return nil
}

// OverrunID is the id of the alert of a reservation that overran.
func OverrunID(hold string) string { return "overrun " + hold }

// FrozenID is the id of the alert of a key that a reservation's overrun froze at a time: a key that was resumed can be
// frozen again.
func FrozenID(hold string, at time.Time) string {
	return fmt.Sprintf("frozen %s %d", hold, at.UnixMicro())
}

// Overrun is the first of a hold's parts whose new amounts are above what stood there, and by how much; -1 where none is.
func Overrun(parts []Part, booked, held []int64) (part int, by int64) {
	for i, p := range parts {
		if by := booked[i] + held[i] - p.Booked - p.Held; by > 0 {
			return i, by
		}
	}
	return -1, 0
}

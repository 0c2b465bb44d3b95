package sqlaudit

import (
	"context"
	"time"

	"github.com/keybrake/keybrake-go/cost"
)

// VendorFigures are what a vendor says that it has counted on a day, as [keybrake.Reconciler.Drift] has read it.
type VendorFigures struct {
	Day        time.Time // any moment of it, in UTC
	Vendor     string
	Credential string // the reference of the real credential
	Total      []cost.Line
	Runs       map[string][]cost.Line // of it, what carries a run's mark; nil where the vendor's records carry none
	Asked      time.Time              // when the vendor said so. Default: now
}

// A figureRow is a row of keybrake_vendor_figures.
type figureRow struct {
	Day        string `json:"day"`
	Vendor     string `json:"vendor"`
	Credential string `json:"credential"`
	Run        string `json:"run"` // empty: of all, whoever made the calls
	Meter      string `json:"meter"`
	Currency   string `json:"currency"`
	Amount     int64  `json:"amount"`
	Asked      int64  `json:"asked"`
}

type figureKey struct {
	Day        string `json:"day"`
	Vendor     string `json:"vendor"`
	Credential string `json:"credential"`
}

var (
	figuresTable = tableOf[figureRow]("keybrake_vendor_figures", 6)
	figureKeysOf = tableOf[figureKey]("", 3)
)

// PutVendorFigures keeps what a vendor says beside what the records say, in the place of what it has said of that day and
// credential before.
func (s *Sink) PutVendorFigures(ctx context.Context, f VendorFigures) error {
	if s.fault != nil {
		return s.fault
	}
	if f.Asked.IsZero() {
		f.Asked = time.Now()
	}
	of := figureKey{dayOf(f.Day), name(f.Vendor), name(f.Credential)}
	lines := map[string][]cost.Line{"": f.Total}
	for run, l := range f.Runs {
		if run != "" {
			lines[name(run)] = l
		}
	}
	sums := map[figureRow]int64{}
	for run, list := range lines {
		for _, l := range list {
			k := figureRow{Day: of.Day, Vendor: of.Vendor, Credential: of.Credential, Run: run, Meter: name(string(l.Meter)), Currency: name(string(l.Currency)), Asked: micros(f.Asked)}
			total, err := cost.Add(sums[k], l.Amount)
			if err != nil {
				return err
			}
			sums[k] = total
		}
	}
	var rows []figureRow
	for k, n := range sums {
		k.Amount = n
		rows = append(rows, k)
	}
	return s.within(ctx, func(tx *transaction) error {
		if err := removeRows(ctx, tx, figuresTable.name, figureKeysOf, []figureKey{of}); err != nil {
			return err
		}
		return insert(ctx, tx, figuresTable, sortedRows(figuresTable, rows), figuresTable.replaced())
	})
}
